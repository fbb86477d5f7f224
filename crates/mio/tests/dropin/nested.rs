//! A poll is a descriptor, which another poll can watch.

use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};

use mio::unix::{SourceFd, pipe};
use mio::{Interest, Poll, Registry, Token, Waker};

use crate::sockets::is_close_on_exec;
use crate::support::{expect_nothing, expect_one};

const R: Interest = Interest::READABLE;

#[test]
fn a_poll_in_a_poll() {
    let (mut outer, mut inner) = (Poll::new().unwrap(), Poll::new().unwrap());
    let waker = Waker::new(inner.registry(), Token(5)).unwrap();
    let fd = inner.as_raw_fd();
    outer.registry().register(&mut SourceFd(&fd), Token(1), R).unwrap();
    expect_nothing(&mut outer);
    waker.wake().unwrap();
    assert_eq!(expect_one(&mut outer, 1), "readable");
    assert_eq!(expect_one(&mut inner, 5), "readable");
    let (mut sender, mut receiver) = pipe::new().unwrap();
    inner.registry().register(&mut receiver, Token(6), R).unwrap();
    expect_nothing(&mut outer);
    sender.write_all(b"x").unwrap();
    assert_eq!(expect_one(&mut outer, 1), "readable");
    assert_eq!(expect_one(&mut inner, 6), "readable");
    assert!(is_close_on_exec(inner.registry()));
    assert_eq!(inner.as_raw_fd(), inner.registry().as_raw_fd());
}

#[test]
fn face() {
    fn raw<T: AsRawFd>() {}
    raw::<Poll>();
    raw::<Registry>();
    fn lends<T: AsFd>() {}
    lends::<Registry>();
}
