//! A small part of Redis without any I/O: bytes in, bytes out.
//!
//! The one who has the connection asks [`Connection::advance`] to answer what it can, sends
//! [`Connection::output`] if there is any, and otherwise receives more. That is the same for a
//! blocking thread, an event loop and a task, so they share this file.
//!
//! A client may send many requests before it reads a reply. They are answered in order, but none
//! while there are [`OUTPUT`] bytes to send: who does not read is not read from either.
//!
//! The codec is our own: `redis-protocol` does not know inline commands (`PING` and a line's end),
//! with which `redis-benchmark` begins.

use std::collections::HashMap;
use std::str;
use std::time::{Duration, Instant};

/// The longest request.
const REQUEST: usize = 16 << 20;
/// The most arguments of a request.
const ARGUMENTS: usize = 64 << 10;
/// The longest line.
const LINE: usize = 64 << 10;
/// Once there is so much to send, no other request is answered.
const OUTPUT: usize = 64 << 10;

/// What all connections see.
#[derive(Default)]
pub(crate) struct Store(HashMap<Vec<u8>, Value>);

struct Value {
    bytes: Vec<u8>,
    /// It is forgotten when somebody asks for it.
    expires: Option<Instant>,
}

/// A client's requests and the replies to them.
#[derive(Default)]
pub(crate) struct Connection {
    input: Vec<u8>,
    output: Vec<u8>,
    sent: usize,
    is_over: bool,
}

impl Connection {
    /// Takes what was received. Answers nothing yet.
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Answers as many requests as are complete and as there is room for.
    pub(crate) fn advance(&mut self, store: &mut Store, now: Instant) {
        let mut done = 0;
        while !self.is_over && self.output.len() < OUTPUT {
            match decode(&self.input[done..]) {
                Ok(Some((arguments, length))) => {
                    done += length;
                    self.is_over = answer(&arguments, store, now, &mut self.output);
                }
                Ok(None) => break,
                Err(error) => {
                    reply(&mut self.output, '-', format_args!("ERR Protocol error: {error}"));
                    self.is_over = true;
                }
            }
        }
        self.input.drain(..done);
    }

    /// What is to be sent. If there is nothing, it takes more input to go on, unless it is over.
    pub(crate) fn output(&self) -> &[u8] {
        &self.output[self.sent..]
    }

    /// So many bytes of the output were sent.
    pub(crate) fn sent(&mut self, count: usize) {
        self.sent += count;
        if self.sent == self.output.len() {
            self.output.clear();
            self.sent = 0;
        }
    }

    /// Whether the connection is to be closed, once all output was sent.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over && self.output().is_empty()
    }
}

type Request<'a> = (Vec<&'a [u8]>, usize);

/// The arguments of the first request and its length; `None` if it is not complete.
fn decode(input: &[u8]) -> Result<Option<Request<'_>>, &'static str> {
    let mut rest = input;
    let too_big = if input.len() > REQUEST { Err("too big request") } else { Ok(None) };
    if input.first() != Some(&b'*') {
        let Some(line) = line(&mut rest, "too big inline request")? else { return Ok(None) };
        let words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        return Ok(Some((words.collect(), input.len() - rest.len())));
    }
    let Some(count) = number(&mut rest, "too big mbulk count string")? else { return Ok(None) };
    let count =
        usize::try_from(count.ok_or("invalid multibulk length")?.max(0)).unwrap_or(usize::MAX);
    if count > ARGUMENTS {
        return Err("invalid multibulk length");
    }
    let mut arguments = Vec::new();
    while arguments.len() < count {
        match rest.first() {
            None => return too_big,
            Some(b'$') => {}
            Some(_) => return Err("expected '$'"),
        }
        let Some(length) = number(&mut rest, "too big bulk count string")? else { return too_big };
        let length = length.and_then(|length| usize::try_from(length).ok());
        let length = length.filter(|length| *length <= REQUEST).ok_or("invalid bulk length")?;
        let Some((argument, behind)) = rest.split_at_checked(length) else { return too_big };
        let Some(behind) = behind.split_at_checked(2) else { return too_big };
        arguments.push(argument);
        rest = behind.1;
    }
    Ok(Some((arguments, input.len() - rest.len())))
}

/// Takes a line, without its end.
fn line<'a>(rest: &mut &'a [u8], too_big: &'static str) -> Result<Option<&'a [u8]>, &'static str> {
    let Some(end) = rest.iter().take(LINE).position(|byte| *byte == b'\n') else {
        return if rest.len() < LINE { Ok(None) } else { Err(too_big) };
    };
    let (line, behind) = (&rest[..end], &rest[end + 1..]);
    *rest = behind;
    Ok(Some(line.strip_suffix(b"\r").unwrap_or(line)))
}

/// Takes a line and reads the number behind its first byte. The inner `None`: it is none.
fn number(rest: &mut &[u8], too_big: &'static str) -> Result<Option<Option<i64>>, &'static str> {
    Ok(line(rest, too_big)?.map(|line| integer(&line[1..])))
}

/// Only what it would be printed as.
fn integer(text: &[u8]) -> Option<i64> {
    let number: i64 = str::from_utf8(text).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == text).then_some(number)
}

fn reply(output: &mut Vec<u8>, kind: char, what: impl std::fmt::Display) {
    output.extend_from_slice(format!("{kind}{what}\r\n").as_bytes());
}

fn reply_bytes(output: &mut Vec<u8>, bytes: Option<&[u8]>) {
    let Some(bytes) = bytes else { return reply(output, '$', -1) };
    reply(output, '$', bytes.len());
    output.extend_from_slice(bytes);
    output.extend_from_slice(b"\r\n");
}

/// Returns whether it was the last request.
fn answer(arguments: &[&[u8]], store: &mut Store, now: Instant, output: &mut Vec<u8>) -> bool {
    // An empty line, or no argument at all, is no request.
    let [name, arguments @ ..] = arguments else { return false };
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    if let Err(error) = execute(&name, arguments, store, now, output) {
        reply(output, '-', format_args!("ERR {error}"));
    }
    name == "quit"
}

fn execute(
    name: &str,
    arguments: &[&[u8]],
    store: &mut Store,
    now: Instant,
    output: &mut Vec<u8>,
) -> Result<(), String> {
    match (name, arguments) {
        ("ping", []) => reply(output, '+', "PONG"),
        ("ping" | "echo", [message]) => reply_bytes(output, Some(message)),
        ("quit", _) => reply(output, '+', "OK"),
        ("set", [key, value, options @ ..]) => {
            let expires = expiry(options, now)?;
            store.set(key, value.to_vec(), expires);
            reply(output, '+', "OK");
        }
        ("get", [key]) => reply_bytes(output, store.get(key, now)),
        ("incr", [key]) => {
            let old = store.get(key, now).unwrap_or(b"0");
            let old = integer(old).ok_or("value is not an integer or out of range")?;
            let new = old.checked_add(1).ok_or("increment or decrement would overflow")?;
            let expires = store.0.get(*key).and_then(|value| value.expires);
            store.set(key, new.to_string().into(), expires);
            reply(output, ':', new);
        }
        ("del", keys @ [_, ..]) => {
            let mut count = 0;
            for key in keys {
                count += usize::from(store.get(key, now).is_some());
                store.0.remove(*key);
            }
            reply(output, ':', count);
        }
        ("exists", keys @ [_, ..]) => {
            let count = keys.iter().filter(|key| store.get(key, now).is_some()).count();
            reply(output, ':', count);
        }
        ("mget", keys @ [_, ..]) => {
            reply(output, '*', keys.len());
            keys.iter().for_each(|key| reply_bytes(output, store.get(key, now)));
        }
        ("mset", pairs @ [_, _, ..]) if pairs.len() % 2 == 0 => {
            pairs.chunks(2).for_each(|pair| store.set(pair[0], pair[1].to_vec(), None));
            reply(output, '+', "OK");
        }
        // What clients ask for when they begin: nothing of it is set here.
        ("config", [_, name]) => {
            reply(output, '*', 2);
            [*name, b""].iter().for_each(|bytes| reply_bytes(output, Some(bytes)));
        }
        ("command", _) => reply(output, '*', 0),
        ("info", _) => reply_bytes(output, Some(b"# Server\r\nredis_version:0.0.0\r\n")),
        ("ping" | "echo" | "set" | "get" | "incr" | "del" | "exists" | "mget" | "mset", _) => {
            return Err(format!("wrong number of arguments for '{name}' command"));
        }
        _ => return Err(format!("unknown command '{}'", name.escape_debug())),
    }
    Ok(())
}

fn expiry(options: &[&[u8]], now: Instant) -> Result<Option<Instant>, String> {
    let (unit, count) = match options {
        [] => return Ok(None),
        [unit, count] => (unit.to_ascii_lowercase(), count),
        _ => return Err("syntax error".into()),
    };
    let unit: fn(u64) -> Duration = match &*unit {
        b"ex" => Duration::from_secs,
        b"px" => Duration::from_millis,
        _ => return Err("syntax error".into()),
    };
    let count = integer(count).ok_or("value is not an integer or out of range")?;
    let after = u64::try_from(count).ok().filter(|count| *count > 0).map(unit);
    // Redis' limit; some systems' clocks go farther.
    let after = after.filter(|after| i64::try_from(after.as_millis()).is_ok());
    let deadline = after.and_then(|after| now.checked_add(after));
    Ok(Some(deadline.ok_or("invalid expire time in 'set' command")?))
}

impl Store {
    fn set(&mut self, key: &[u8], bytes: Vec<u8>, expires: Option<Instant>) {
        self.0.insert(key.to_vec(), Value { bytes, expires });
    }

    fn get(&mut self, key: &[u8], now: Instant) -> Option<&[u8]> {
        if self.0.get(key)?.expires.is_some_and(|deadline| deadline <= now) {
            self.0.remove(key);
        }
        Some(&self.0.get(key)?.bytes)
    }
}
