//! A terminal program: keys, window sizes, signals, a timer and a worker thread in one loop.
//!
//! Type a number and Enter: a thread of its own factors it. `q` or Ctrl-C ends the program, Ctrl-Z
//! suspends it, `!` makes it panic.
//!
//! The terminal belongs to the shell too, which wants it back as it was on every way out: normal,
//! by an error, a signal, a suspension or a panic. So its settings are kept and put back ([`Raw`]),
//! and it is left blocking: the flag would be the shell's as well. `Level` has no need of it, since
//! one read after a report does not block. `Stdin` has a buffer, into which a poller cannot see:
//! its descriptor is watched, and read as a `File`.

use std::error::Error;
use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{fmt, panic, thread};

use anypoll::channel::{self, Receiver, TryRecvError};
use anypoll::timers::Timers;
use anypoll::{Events, Interest, Mode, Poller, Registered, Token};
use rustix::termios::{self, OptionalActions, Termios, Winsize};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::low_level;

const KEYS: Token = Token(0);
const WORKER: Token = Token(1);
/// From here on, one for each of the signals.
const SIGNAL: usize = 2;
const SIGNALS: [i32; 6] = [SIGWINCH, SIGTSTP, SIGHUP, SIGINT, SIGQUIT, SIGTERM];

const TICK: Duration = Duration::from_millis(250);

fn main() -> Result<(), Box<dyn Error>> {
    if !io::stdin().is_terminal() {
        return Err("standard input is not a terminal".into());
    }
    let poller = Poller::new()?;
    let mut signals = Vec::new();
    for (index, signal) in SIGNALS.into_iter().enumerate() {
        let (ours, handlers) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        low_level::pipe::register(signal, handlers)?;
        let token = Token(SIGNAL + index);
        signals.push(poller.register(ours, token, Interest::READABLE, Mode::Level)?);
    }
    let raw = Raw::enter()?;
    let signal = Program::new(&poller, signals)?.run(&raw)?;
    drop(raw);
    if let Some(signal) = signal {
        // The shell is to see what has ended the program.
        low_level::emulate_default_handler(signal)?;
    }
    Ok(())
}

/// The terminal in raw mode, with a screen of ours.
struct Raw(Termios);

impl Raw {
    fn enter() -> io::Result<Self> {
        let this = Self(termios::tcgetattr(io::stdin())?);
        let settings = this.0.clone();
        // The message would go to our screen, which is gone a moment later.
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let _ = leave(&settings);
            print(info);
        }));
        this.again()?;
        Ok(this)
    }

    fn again(&self) -> io::Result<()> {
        let mut settings = self.0.clone();
        settings.make_raw();
        termios::tcsetattr(io::stdin(), OptionalActions::Drain, &settings)?;
        draw(format_args!("\x1b[?1049h"))
    }

    fn suspend(&self) -> io::Result<()> {
        leave(&self.0)?;
        low_level::emulate_default_handler(SIGTSTP)?;
        self.again()
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = leave(&self.0);
    }
}

fn leave(settings: &Termios) -> io::Result<()> {
    let drawn = draw(format_args!("\x1b[?1049l"));
    termios::tcsetattr(io::stdin(), OptionalActions::Drain, settings)?;
    drawn
}

fn draw(what: fmt::Arguments<'_>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_fmt(what)?;
    out.flush()
}

struct Program {
    keys: Registered<File>,
    signals: Vec<Registered<UnixStream>>,
    timers: Timers<()>,
    to_worker: mpsc::Sender<u64>,
    from_worker: Receiver<String>,
    typed: String,
    answer: String,
    ticks: usize,
    size: Winsize,
}

impl Program {
    fn new(poller: &Poller, signals: Vec<Registered<UnixStream>>) -> io::Result<Self> {
        let stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let keys = poller.register(stdin, KEYS, Interest::READABLE, Mode::Level)?;
        let (to_worker, numbers) = mpsc::channel();
        let (answers, from_worker) = channel::bounded(16, poller.waker(WORKER));
        thread::spawn(move || {
            for number in numbers {
                // An answer for which there is no room is one of many that nobody has read yet.
                let _ = answers.try_send(factors(number));
            }
        });
        let mut timers = Timers::new();
        timers.insert(Instant::now() + TICK, ());
        let (typed, answer, size) = (String::new(), String::new(), window()?);
        Ok(Self { keys, signals, timers, to_worker, from_worker, typed, answer, ticks: 0, size })
    }

    /// Returns the signal that has ended it, if one has.
    fn run(mut self, raw: &Raw) -> io::Result<Option<i32>> {
        let poller = self.keys.poller().clone();
        let mut events = Events::default();
        loop {
            self.draw()?;
            poller.wait_until(&mut events, self.timers.next_deadline())?;
            for event in &events {
                match event.token() {
                    KEYS => {
                        let mut buf = [0; 64];
                        let count = self.keys.read(&mut buf)?;
                        for key in &buf[..count] {
                            match key {
                                b'q' | b'\x03' => return Ok(None),
                                b'\x1a' => self.suspend(raw)?,
                                key => self.key(*key),
                            }
                        }
                        if count == 0 {
                            return Ok(None);
                        }
                    }
                    WORKER => self.answers()?,
                    Token(number) => {
                        let index = number - SIGNAL;
                        take(&self.signals[index])?;
                        match SIGNALS[index] {
                            SIGWINCH => self.size = window()?,
                            SIGTSTP => self.suspend(raw)?,
                            signal => return Ok(Some(signal)),
                        }
                    }
                }
            }
            let now = Instant::now();
            while let Some((deadline, ())) = self.timers.expire(now) {
                self.ticks += 1;
                // After a suspension, those that were missed are not made up for.
                self.timers.insert((deadline + TICK).max(now), ());
            }
        }
    }

    /// Meanwhile the window's changes are told to others.
    fn suspend(&mut self, raw: &Raw) -> io::Result<()> {
        raw.suspend()?;
        self.size = window()?;
        Ok(())
    }

    fn key(&mut self, key: u8) {
        match key {
            b'\r' => {
                if let Ok(number) = self.typed.parse() {
                    let _ = self.to_worker.send(number);
                }
                self.typed.clear();
            }
            b'\x7f' => drop(self.typed.pop()),
            b'!' => panic!("as you wish"),
            key => self.typed.extend(key.is_ascii_graphic().then_some(char::from(key))),
        }
    }

    fn answers(&mut self) -> io::Result<()> {
        loop {
            match self.from_worker.try_recv() {
                Ok(answer) => self.answer = answer,
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => {
                    return Err(io::Error::other("the worker is gone"));
                }
            }
        }
    }

    fn draw(&self) -> io::Result<()> {
        let Self { typed, answer, ticks, size, .. } = self;
        draw(format_args!(
            "\x1b[2J\x1b[Hwindow {} x {}\r\nticks {ticks}\r\nanswer {answer}\r\nnumber {typed}",
            size.ws_col, size.ws_row
        ))
    }
}

fn window() -> io::Result<Winsize> {
    Ok(termios::tcgetwinsize(io::stdout())?)
}

fn take(mut signals: &Registered<UnixStream>) -> io::Result<()> {
    match signals.read(&mut [0; 64]) {
        Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
        _ => Ok(()),
    }
}

fn factors(number: u64) -> String {
    let (mut rest, mut divisor, mut found) = (number, 2, Vec::new());
    while divisor <= rest / divisor {
        if rest % divisor == 0 {
            rest /= divisor;
            found.push(divisor.to_string());
        } else {
            divisor += 1;
        }
    }
    found.push(rest.to_string());
    format!("{number} = {}", found.join(" * "))
}
