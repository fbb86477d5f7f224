//! The example of a terminal program, in a terminal: a shell in tmux runs it. On every backend.
#![cfg(unix)]

#[path = "contract/support.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the contract's tests")]
mod support;

use std::cell::Cell;
use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anypoll::{Backend, Events, Interest, Mode, Poller, Registered, Token};
use rustix::process::{Pid, Signal, kill_process};

use support::{PATIENCE, is_installed, on_every_backend, poller};

on_every_backend! {
    everything_in_one_loop
    a_panic_gives_the_terminal_back
    signals_give_the_terminal_back
    a_suspension_gives_it_back_for_a_while
}

/// A tmux server of its own, with one window.
struct Tmux {
    name: String,
    /// All that the window is given to show.
    shown: Registered<File>,
    fifo: PathBuf,
    poller: Poller,
    /// How many lines the shell was given: what an earlier one has left on the screen is told apart.
    lines: Cell<usize>,
}

/// `None` if there is no tmux.
fn tmux(test: &str, backend: Backend) -> Option<Tmux> {
    if !is_installed("tmux", test) {
        return None;
    }
    let name = format!("anypoll-{test}-{backend:?}-{}", std::process::id());
    let fifo = std::env::temp_dir().join(&name);
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    // With a writer among its own, it has no end.
    let shown = File::options().read(true).write(true).open(&fifo).unwrap();
    let poller = poller(backend);
    let shown = poller.register(shown, Token(0), Interest::READABLE, Mode::Level).unwrap();
    let tmux = Tmux { name, shown, fifo, poller, lines: Cell::new(0) };
    let shell = format!("ANYPOLL_BACKEND={backend:?} PS1='$ ' ENV= HISTFILE= exec sh -i");
    tmux.run(&["new-session", "-d", "-x", "80", "-y", "24", &shell]);
    tmux.run(&["pipe-pane", &format!("exec cat >'{}'", tmux.fifo.display())]);
    Some(tmux)
}

impl Tmux {
    fn run(&self, args: &[&str]) -> String {
        let output = Command::new("tmux")
            .args(["-L", &self.name, "-f", "/dev/null"])
            .args(args)
            .env_remove("TMUX")
            .output()
            .unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn lines(&self) -> Vec<String> {
        self.run(&["capture-pane", "-p"]).lines().map(str::to_owned).collect()
    }

    /// Waits for the screen to show what is looked for.
    fn see<T>(&self, look: impl Fn(&[String]) -> Option<T>) -> T {
        let (mut events, start) = (Events::default(), Instant::now());
        loop {
            let lines = self.lines();
            if let Some(seen) = look(&lines) {
                return seen;
            }
            self.poller.wait(&mut events, Some(PATIENCE)).unwrap();
            // The ticks never end.
            let is_late = events.is_empty() || start.elapsed() > PATIENCE;
            assert!(!is_late, "looked in vain at {lines:#?}");
            let _ = (&self.shown).read(&mut [0; 4096]).unwrap();
        }
    }

    fn see_line(&self, expected: &str) {
        self.see(|lines| lines.iter().any(|line| line == expected).then_some(()));
    }

    /// What is behind a word at the beginning of a line.
    fn see_after(&self, word: &str) -> String {
        self.see(|lines| lines.iter().find_map(|line| Some(line.strip_prefix(word)?.into())))
    }

    fn keys(&self, keys: &[&str]) {
        self.run(&[&["send-keys"], keys].concat());
    }

    /// Gives the shell a line.
    fn shell(&self, line: &str) {
        self.lines.set(self.lines.get() + 1);
        let number = self.lines.get();
        self.keys(&["-l", &format!("clear; {line}; echo line {number}: $?")]);
        self.keys(&["Enter"]);
    }

    /// Waits until the shell is done with its last line.
    fn status(&self) -> String {
        self.see_after(&format!("line {}: ", self.lines.get()))
    }

    fn start(&self) -> Option<Pid> {
        let profile =
            std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().to_owned();
        let example = profile.join("examples/terminal");
        assert!(example.exists(), "`cargo test` builds it, or `cargo build --example terminal`");
        // The number is that of the program, which takes the inner shell's place.
        let word = format!("process {} ", self.lines.get());
        self.shell(&format!("sh -c 'echo {word}$$; read go; exec {}'", example.display()));
        let pid = Pid::from_raw(self.see_after(&word).parse().unwrap());
        self.keys(&["Enter"]);
        self.see_line("window 80 x 24");
        // The shell has the same open terminal: whether it blocks is one flag for both.
        #[cfg(target_os = "linux")]
        {
            let info = std::fs::read_to_string(format!("/proc/{}/fdinfo/0", pid.unwrap())).unwrap();
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
            assert_eq!(i32::from_str_radix(flags.trim(), 8).unwrap() & libc::O_NONBLOCK, 0);
        }
        pid
    }

    fn settings(&self) -> String {
        // Another process: the shell has its own while it reads a line.
        self.shell("stty -g | sed 's/^/settings /'");
        assert_eq!(self.status(), "0");
        self.see_after("settings ")
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = Command::new("tmux").args(["-L", &self.name, "kill-server"]).output();
        let _ = fs::remove_file(&self.fifo);
    }
}

fn everything_in_one_loop(backend: Backend) {
    let Some(tmux) = tmux("everything", backend) else { return };
    let before = tmux.settings();
    tmux.start();

    tmux.keys(&["3", "7", "0"]);
    tmux.see_line("number 370");
    tmux.keys(&["BSpace", "BSpace", "6", "0", "Enter"]);
    tmux.see_line("answer 360 = 2 * 2 * 2 * 3 * 3 * 5");

    tmux.run(&["resize-window", "-x", "100", "-y", "30"]);
    tmux.see_line("window 100 x 30");
    tmux.run(&["resize-window", "-x", "80", "-y", "10"]);
    tmux.see_line("window 80 x 10");

    let ticks: usize = tmux.see_after("ticks ").parse().unwrap();
    let later = |line: &String| {
        line.strip_prefix("ticks ")?.parse::<usize>().ok().filter(|now| *now >= ticks + 2)
    };
    tmux.see(|lines| lines.iter().find_map(later));

    tmux.keys(&["q"]);
    assert_eq!(tmux.status(), "0");
    assert_eq!(tmux.settings(), before);
}

fn a_panic_gives_the_terminal_back(backend: Backend) {
    let Some(tmux) = tmux("panic", backend) else { return };
    let before = tmux.settings();
    tmux.start();
    tmux.keys(&["!"]);
    assert_eq!(tmux.status(), "101");
    // On the shell's screen, and from its first column.
    tmux.see_line("as you wish");
    assert_eq!(tmux.settings(), before);
}

fn signals_give_the_terminal_back(backend: Backend) {
    let Some(tmux) = tmux("signals", backend) else { return };
    let before = tmux.settings();
    for signal in [Signal::TERM, Signal::HUP] {
        let pid = tmux.start();
        kill_process(pid.unwrap(), signal).unwrap();
        assert_eq!(tmux.status(), (128 + signal.as_raw()).to_string());
        assert_eq!(tmux.settings(), before);
    }
}

fn a_suspension_gives_it_back_for_a_while(backend: Backend) {
    let Some(tmux) = tmux("suspension", backend) else { return };
    let before = tmux.settings();
    tmux.start();
    for _ in 0..2 {
        tmux.keys(&["C-z"]);
        assert_eq!(tmux.status(), (128 + Signal::STOP.as_raw()).to_string());
        assert_eq!(tmux.settings(), before);
        tmux.shell("fg");
        tmux.see_line("window 80 x 24");
        tmux.keys(&["7"]);
        tmux.see_after("number 7");
    }
    tmux.keys(&["C-c"]);
    assert_eq!(tmux.status(), "0");
    assert_eq!(tmux.settings(), before);
}

#[test]
fn without_a_terminal_it_says_so() {
    let profile = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().to_owned();
    let output =
        Command::new(profile.join("examples/terminal")).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, "Error: \"standard input is not a terminal\"\n");
}
