//! The record of a backend whose kernel writes nothing that could be handed on as it is.

use crate::backend::KernelRecord;
use crate::event::{Conditions, Token};

#[derive(Clone, Copy)]
pub(crate) struct Record {
    token: Token,
    conditions: Conditions,
    notice: bool,
}

impl KernelRecord for Record {
    fn new(token: Token, conditions: Conditions) -> Self {
        Self { token, conditions, notice: false }
    }

    fn notice() -> Self {
        Self { token: Token(0), conditions: Conditions::NONE, notice: true }
    }

    fn is_notice(&self) -> bool {
        self.notice
    }

    fn token(&self) -> Token {
        self.token
    }

    fn conditions(&self) -> Conditions {
        self.conditions
    }
}
