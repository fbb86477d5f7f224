//! The name of a registration.

/// The name that a source is registered under, and that its events carry.
///
/// The value is the program's own: an index, a key, a pointer. It is handed back as it was given.
/// One value cannot be registered on 64-bit Linux and Android, the odd constant
/// [`anypoll::Token::RESERVED`]: neither a small number nor [`usize::MAX`] nor what a pointer can
/// be.
///
/// ```
/// use mio::Token;
///
/// let token = Token(7);
/// assert_eq!(usize::from(token), 7);
/// ```
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub usize);

impl From<Token> for usize {
    fn from(token: Token) -> usize {
        token.0
    }
}
