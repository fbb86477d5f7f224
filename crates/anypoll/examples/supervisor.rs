//! A supervisor: starts commands, labels what they print, and starts them again when they end.
//!
//! `supervisor [--grace SECONDS] [--delay SECONDS] COMMAND...` gives each command to a shell. A line
//! of its output becomes a line of ours with its number before it. When it ends it is started again
//! after the delay, which doubles each time until it has run for a while. SIGTERM and SIGINT are
//! handed on, and once every command has ended so does this; what is left after the time of grace,
//! or at a second signal, is killed.
//!
//! One thread, which sleeps unless there is something to do: outputs, exits ([`Exit`]) and signals
//! are watched by one poller, and what is to be done later stands in [`Timers`].
//!
//! Each command is a process group, so that what it has started ends with it. The group is killed
//! before its leader is waited for: until then nobody else can have its number.

use std::error::Error;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anypoll::process::Exit;
use anypoll::timers::Timers;
use anypoll::{Events, Interest, Mode, Poller, Registered, Token, set_nonblocking};
use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::low_level;

const USAGE: &str = "usage: supervisor [--grace SECONDS] [--delay SECONDS] COMMAND...";

/// The tokens of one command: each of its outputs and its exit.
const TOKENS: usize = 3;
const EXIT: usize = 2;
/// The longest delay.
const LONGEST: Duration = Duration::from_secs(30);
/// What has run for so long is taken for sound: the delays begin anew.
const SOUND: Duration = Duration::from_secs(10);
/// No pipe holds more unless it was told to, so one read takes all that an ended command has left.
const PIPE: usize = 64 * 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1).peekable();
    let (mut grace, mut delay) = (Duration::from_secs(5), Duration::from_millis(100));
    while let Some(option) = args.next_if(|arg| arg.starts_with("--")) {
        let seconds = args.next().ok_or(USAGE)?.parse().map_err(|_| USAGE)?;
        let place = match &*option {
            "--grace" => &mut grace,
            "--delay" => &mut delay,
            _ => return Err(USAGE.into()),
        };
        *place = Duration::try_from_secs_f64(seconds)?;
    }
    if args.peek().is_none() {
        return Err(USAGE.into());
    }
    Ok(Supervisor::new(args.collect(), grace, delay)?.run()?)
}

struct Supervisor {
    poller: Poller,
    signals: Vec<(Signal, Registered<UnixStream>)>,
    services: Vec<Service>,
    timers: Timers<Later>,
    is_ending: bool,
    grace: Duration,
    first_delay: Duration,
}

enum Later {
    /// Start the service of this index.
    Start(usize),
    /// Kill whatever runs.
    Kill,
}

struct Service {
    command: String,
    delay: Duration,
    running: Option<Running>,
}

impl Supervisor {
    fn new(commands: Vec<String>, grace: Duration, first_delay: Duration) -> io::Result<Self> {
        let poller = Poller::new()?;
        let mut signals = Vec::new();
        for (index, signal) in [Signal::TERM, Signal::INT].into_iter().enumerate() {
            let (ours, handlers) = UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            low_level::pipe::register(signal.as_raw(), handlers)?;
            let token = Token(commands.len() * TOKENS + index);
            signals.push((signal, poller.register(ours, token, Interest::READABLE, Mode::Level)?));
        }
        let mut timers = Timers::new();
        let service = |(index, command)| {
            timers.insert(Instant::now(), Later::Start(index));
            Service { command, delay: first_delay, running: None }
        };
        let services = commands.into_iter().enumerate().map(service).collect();
        Ok(Self { poller, signals, services, timers, is_ending: false, grace, first_delay })
    }

    /// On an error, whatever runs is killed and waited for: that is how a [`Running`] is dropped.
    fn run(mut self) -> io::Result<()> {
        let (mut events, mut buf) = (Events::default(), vec![0; PIPE]);
        while !self.is_ending || self.services.iter().any(|service| service.running.is_some()) {
            self.poller.wait_until(&mut events, self.timers.next_deadline())?;
            for event in &events {
                let Token(number) = event.token();
                let (index, what) = (number / TOKENS, number % TOKENS);
                let Some(service) = self.services.get_mut(index) else {
                    self.forward(number - self.services.len() * TOKENS)?;
                    continue;
                };
                // An earlier event of this batch may have been the exit.
                let Some(running) = &mut service.running else { continue };
                if what == EXIT {
                    self.ended(index, &mut buf)?;
                } else {
                    running.read(index, what, &mut buf)?;
                }
            }
            let now = Instant::now();
            while let Some((_, later)) = self.timers.expire(now) {
                match later {
                    Later::Start(index) => self.start(index)?,
                    Later::Kill => self.signal(Signal::KILL),
                }
            }
        }
        Ok(())
    }

    fn start(&mut self, index: usize) -> io::Result<()> {
        if self.is_ending {
            return Ok(());
        }
        let service = &mut self.services[index];
        match Running::new(&self.poller, index, &service.command) {
            Ok(running) => {
                service.running = Some(running);
                Ok(())
            }
            Err(error) => self.start_later(index, &error),
        }
    }

    fn start_later(&mut self, index: usize, why: &dyn std::fmt::Display) -> io::Result<()> {
        let service = &mut self.services[index];
        let delay = service.delay;
        service.delay = LONGEST.min(delay * 2);
        self.timers.insert(Instant::now() + delay, Later::Start(index));
        print(index, io::stderr(), format!("{why}, again in {delay:?}").as_bytes())
    }

    fn ended(&mut self, index: usize, buf: &mut [u8]) -> io::Result<()> {
        let service = &mut self.services[index];
        let Some(mut running) = service.running.take() else { return Ok(()) };
        for what in 0..EXIT {
            running.read(index, what, buf)?;
            // Somebody else may hold the pipe open for ever. He is not waited for.
            running.close(index, what)?;
        }
        let status = running.reap()?;
        if running.since.elapsed() >= SOUND {
            service.delay = self.first_delay;
        }
        if self.is_ending {
            return print(index, io::stderr(), status.to_string().as_bytes());
        }
        self.start_later(index, &status)
    }

    fn forward(&mut self, which: usize) -> io::Result<()> {
        let (signal, stream) = &mut self.signals[which];
        let signal = *signal;
        // However often it came.
        match stream.read(&mut [0; 64]) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
        self.signal(if self.is_ending { Signal::KILL } else { signal });
        self.is_ending = true;
        self.timers.insert(Instant::now() + self.grace, Later::Kill);
        Ok(())
    }

    fn signal(&self, signal: Signal) {
        for running in self.services.iter().filter_map(|service| service.running.as_ref()) {
            running.signal(signal);
        }
    }
}

/// A started command.
struct Running {
    process: Child,
    is_reaped: bool,
    since: Instant,
    outputs: [Option<Output>; 2],
    /// Watched until the command is dropped.
    exit: Option<Registered<Exit>>,
}

struct Output {
    pipe: Registered<File>,
    /// The beginning of a line.
    rest: Vec<u8>,
}

impl Running {
    fn new(poller: &Poller, index: usize, command: &str) -> io::Result<Self> {
        let mut process = Command::new("sh")
            .args(["-c", command])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let pipes =
            [process.stdout.take().map(OwnedFd::from), process.stderr.take().map(OwnedFd::from)];
        let since = Instant::now();
        // From here on it is not left behind if something fails.
        let mut this = Self { process, is_reaped: false, since, outputs: [None, None], exit: None };
        let token = |what| Token(index * TOKENS + what);
        for (what, pipe) in pipes.into_iter().flatten().enumerate() {
            let pipe = File::from(pipe);
            set_nonblocking(&pipe, true)?;
            let pipe = poller.register(pipe, token(what), Interest::READABLE, Mode::Level)?;
            this.outputs[what] = Some(Output { pipe, rest: Vec::new() });
        }
        let exit = Exit::of(&mut this.process)?;
        this.exit = Some(poller.register(exit, token(EXIT), Interest::READABLE, Mode::Level)?);
        Ok(this)
    }

    /// Takes some of an output, and prints the lines that are complete.
    fn read(&mut self, index: usize, what: usize, buf: &mut [u8]) -> io::Result<()> {
        let Some(output) = &mut self.outputs[what] else { return Ok(()) };
        let count = match output.pipe.read(buf) {
            Ok(0) => return self.close(index, what),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        for part in buf[..count].split_inclusive(|byte| *byte == b'\n') {
            output.rest.extend_from_slice(part);
            // A line without end is printed in pieces.
            if part.ends_with(b"\n") || output.rest.len() >= PIPE {
                print_from(index, what, output.rest.strip_suffix(b"\n").unwrap_or(&output.rest))?;
                output.rest.clear();
            }
        }
        Ok(())
    }

    /// Prints a last line that has no end.
    fn close(&mut self, index: usize, what: usize) -> io::Result<()> {
        match self.outputs[what].take() {
            Some(output) if !output.rest.is_empty() => print_from(index, what, &output.rest),
            _ => Ok(()),
        }
    }

    /// Who is gone meanwhile needs no signal.
    fn signal(&self, signal: Signal) {
        let _ = kill_process_group(Pid::from_child(&self.process), signal);
    }

    /// Ends what the command has left behind, and the command too if it still runs.
    fn reap(&mut self) -> io::Result<ExitStatus> {
        if !self.is_reaped {
            self.signal(Signal::KILL);
            self.is_reaped = true;
        }
        self.process.wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.reap();
    }
}

fn print_from(index: usize, what: usize, line: &[u8]) -> io::Result<()> {
    if what == 0 { print(index, io::stdout(), line) } else { print(index, io::stderr(), line) }
}

/// Who does not take what we print holds everything up, as in a pipeline.
fn print(index: usize, mut to: impl Write, line: &[u8]) -> io::Result<()> {
    let number = index + 1;
    to.write_all(&[format!("[{number}] ").as_bytes(), line, b"\n"].concat())?;
    to.flush()
}
