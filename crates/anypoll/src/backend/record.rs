//! The record of systems whose kernel's own says something else than token and conditions.

use super::KernelRecord;
use crate::event::{Conditions, Token};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    token: Token,
    conditions: Conditions,
}

impl Token {
    /// The value that cannot be registered, where there is one (64-bit systems with epoll).
    pub const RESERVED: Option<Self> = None;
}

/// No kernel says this.
const NOTICE: Conditions = Conditions::from_bits(1 << 31);

impl KernelRecord for Record {
    fn new(token: Token, conditions: Conditions) -> Self {
        Self { token, conditions }
    }

    fn notice() -> Self {
        Self { token: Token(0), conditions: NOTICE }
    }

    fn is_notice(&self) -> bool {
        self.conditions == NOTICE
    }

    fn token(&self) -> Token {
        self.token
    }

    fn conditions(&self) -> Conditions {
        self.conditions
    }
}
