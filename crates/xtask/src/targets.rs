//! `cargo xtask targets`: every system, as far as one Linux machine reaches.
//!
//! Five lanes, each a column of the table that is printed:
//!
//! - *lint*: clippy, which checks first, with warnings denied. The standard library comes from
//!   rustup; for a target that rustup has none for it is built from rustup's source.
//! - *link*: a program that calls everything, with `zig cc`, so that a symbol which the system
//!   lacks is found.
//! - *run*: the tests, on this kernel: 32-bit natively, other processors under qemu.
//! - *kernel*: the contract on Linux 5.10, which lacks `epoll_pwait2`, in a machine of qemu's.
//! - *wasm*: a program under wasmtime.
//!
//! What is missing is installed: by rustup into the toolchain, by apt-get, and by pip into
//! `target/targets`. What cannot be had is skipped, and the table says why.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::Result;

pub(crate) const USAGE: &str = "  targets [--lane LANE]... [TRIPLE...]
      Check every system as far as this machine reaches, and print a table.
      --lane LANE  lint (the default), link, run, kernel, wasm or all
      TRIPLE       only these targets";

struct Target {
    triple: &'static str,
    std: Std,
    lint: Lint,
    /// As `zig cc` calls it.
    zig: Option<&'static str>,
    run: Option<Run>,
}

#[derive(Clone, Copy, PartialEq)]
enum Std {
    Rustup,
    /// Built from source, for want of a built one.
    Source,
}

#[derive(Clone, Copy)]
enum Lint {
    /// Tests and examples too, and the drop-ins.
    All,
    /// The libraries: ours and the drop-ins.
    Libraries,
    /// Our library with these features, where dependencies of tests do not build.
    Lib(&'static str),
}

#[derive(Clone, Copy)]
enum Run {
    /// The compiler's prefix, Debian's package of it, and what runs the program.
    Tests {
        prefix: &'static str,
        packages: &'static str,
        runner: &'static str,
    },
    Kernel,
    Wasm,
}

const EVERYTHING: Lint = Lint::Lib("channel,net");
/// socket2 does not know the system.
const NO_SOCKET2: Lint = Lint::Lib("channel");

impl Target {
    const fn new(triple: &'static str, lint: Lint) -> Self {
        Self { triple, std: Std::Rustup, lint, zig: None, run: None }
    }

    const fn built(self) -> Self {
        Self { std: Std::Source, ..self }
    }

    const fn linked(self, zig: &'static str) -> Self {
        Self { zig: Some(zig), ..self }
    }

    const fn run(self, run: Run) -> Self {
        Self { run: Some(run), ..self }
    }
}

const TARGETS: &[Target] = &[
    Target::new("aarch64-apple-darwin", Lint::Libraries).linked("aarch64-macos"),
    Target::new("x86_64-apple-darwin", Lint::Libraries).linked("x86_64-macos"),
    Target::new("aarch64-apple-ios", Lint::Libraries),
    Target::new("x86_64-unknown-freebsd", Lint::Libraries).linked("x86_64-freebsd"),
    Target::new("x86_64-unknown-netbsd", Lint::Libraries).linked("x86_64-netbsd"),
    Target::new("x86_64-unknown-openbsd", Lint::Libraries).built().linked("x86_64-openbsd"),
    Target::new("x86_64-unknown-dragonfly", Lint::Libraries).built(),
    Target::new("x86_64-unknown-illumos", Lint::Libraries),
    Target::new("x86_64-pc-solaris", Lint::Libraries).built(),
    Target::new("x86_64-pc-windows-gnu", EVERYTHING),
    Target::new("x86_64-pc-windows-msvc", EVERYTHING),
    Target::new("wasm32-wasip1", NO_SOCKET2).run(Run::Wasm),
    Target::new("wasm32-wasip2", EVERYTHING).run(Run::Wasm),
    Target::new("aarch64-linux-android", Lint::Libraries),
    Target::new("x86_64-unknown-fuchsia", EVERYTHING),
    Target::new("x86_64-unknown-redox", EVERYTHING),
    Target::new("x86_64-unknown-haiku", EVERYTHING).built(),
    Target::new("x86_64-unknown-hermit", NO_SOCKET2).built(),
    Target::new("riscv32imc-esp-espidf", EVERYTHING).built(),
    Target::new("x86_64-unknown-linux-musl", Lint::Libraries).run(Run::Tests {
        prefix: "x86_64-linux-gnu",
        packages: "gcc",
        runner: "env",
    }),
    Target::new("i686-unknown-linux-gnu", Lint::All).run(Run::Tests {
        prefix: "i686-linux-gnu",
        packages: "gcc-i686-linux-gnu libc6-dev-i386-cross",
        runner: "/usr/i686-linux-gnu/lib/ld-linux.so.2",
    }),
    Target::new("aarch64-unknown-linux-gnu", Lint::All).run(Run::Tests {
        prefix: "aarch64-linux-gnu",
        packages: "gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static",
        runner: "qemu-aarch64-static -L /usr/aarch64-linux-gnu",
    }),
    Target::new("s390x-unknown-linux-gnu", Lint::All).run(Run::Tests {
        prefix: "s390x-linux-gnu",
        packages: "gcc-s390x-linux-gnu libc6-dev-s390x-cross qemu-user-static",
        runner: "qemu-s390x-static -L /usr/s390x-linux-gnu",
    }),
    Target::new("x86_64-unknown-linux-gnu", Lint::All).run(Run::Kernel),
];

const LANES: [&str; 5] = ["lint", "link", "run", "kernel", "wasm"];

/// The programs of the tests that need neither strace nor a real processor.
const TESTS: [&str; 8] =
    ["--lib", "--test", "contract", "--test", "channel", "--test", "timers", "--no-fail-fast"];

/// Tests that qemu's user mode cannot run: it lacks `TCGETS2`, for pseudo-terminals, and a test
/// that starts itself anew would leave the emulation.
const NOT_UNDER_QEMU: [&str; 13] = [
    "truth_table",
    "ready_before_registration",
    "ready_after_registration",
    "ready_before_an_interest_in_it",
    "_reports_once_",
    "level_reports_while_it_lasts",
    "nothing_to_read",
    "readiness_before_the_removal",
    "readiness_after_the_removal",
    "each_failure_arrives",
    "out_of_descriptors",
    "a_lying_source",
    "p12_drop_order",
];

enum Cell {
    Passed(f64, String),
    Failed(String),
    Skipped(String),
}

pub(crate) fn run(mut args: impl Iterator<Item = String>) -> Result<bool> {
    let mut lanes = Vec::new();
    let mut triples = Vec::new();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--lane" => lanes.push(args.next().ok_or(USAGE)?),
            option if option.starts_with('-') => return Err(USAGE.into()),
            _ => triples.push(arg),
        }
    }
    if lanes.is_empty() {
        lanes.push("lint".into());
    }
    let known = |name: &String| name == "all" || LANES.contains(&name.as_str());
    if !lanes.iter().all(known) {
        return Err(USAGE.into());
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let built = std::env::var_os("CARGO_TARGET_DIR");
    let root = built.map_or_else(|| workspace.join("target"), PathBuf::from).join("targets");
    let machine = Machine { workspace, root };
    fs::create_dir_all(machine.root.join("logs"))?;
    // Once, for those that come from it.
    let source = machine.have(
        "rustup component list --installed | grep -q rust-src || rustup component add rust-src",
    );

    let chosen = |t: &&Target| triples.is_empty() || triples.iter().any(|name| name == t.triple);
    let mut rows = Vec::new();
    for target in TARGETS.iter().filter(chosen) {
        let std = match target.std {
            Std::Source if source.is_err() => Err("rustup gives no rust-src".to_owned()),
            Std::Source => Ok(()),
            Std::Rustup => machine
                .have(&format!("rustup target add {}", target.triple))
                .map_err(|_| "rustup gives no library for it".to_owned()),
        };
        let mut cells = Vec::new();
        for lane in LANES {
            let asked = lanes.iter().any(|name| name == "all" || name == lane);
            let cell = match (&std, machine.job(lane, target)) {
                (_, None) => None,
                _ if !asked => None,
                (Err(why), _) => Some(Cell::Skipped(why.clone())),
                (Ok(()), Some(job)) => {
                    eprintln!("{lane} {}", target.triple);
                    Some(job().unwrap_or_else(|error| Cell::Skipped(error.to_string())))
                }
            };
            cells.push(cell);
        }
        rows.push((target.triple, cells));
    }
    Ok(report(&rows))
}

fn report(rows: &[(&str, Vec<Option<Cell>>)]) -> bool {
    let mut notes = Vec::new();
    println!("{:26} {}", "target", LANES.map(|lane| format!("{lane:10}")).join(" "));
    for (triple, cells) in rows {
        print!("{triple:26}");
        for (lane, cell) in LANES.iter().zip(cells) {
            let text = match cell {
                None => String::new(),
                Some(Cell::Passed(seconds, note)) => {
                    if !note.is_empty() {
                        notes.push(format!("{triple}, {lane}: {note}"));
                    }
                    format!("ok {seconds:.0} s")
                }
                Some(Cell::Failed(note)) => {
                    notes.push(format!("{triple}, {lane}: {note}"));
                    "FAILED".into()
                }
                Some(Cell::Skipped(note)) => {
                    notes.push(format!("{triple}, {lane}: skipped: {note}"));
                    "skipped".into()
                }
            };
            print!(" {text:10}");
        }
        println!();
    }
    println!();
    for note in &notes {
        println!("{note}");
    }
    let failed = |cell: &Option<Cell>| matches!(cell, Some(Cell::Failed(_)));
    !rows.iter().any(|(_, cells)| cells.iter().any(failed))
}

struct Machine {
    workspace: PathBuf,
    root: PathBuf,
}

type Job<'a> = Box<dyn Fn() -> Result<Cell> + 'a>;

impl Machine {
    fn job<'a>(&'a self, lane: &str, target: &'a Target) -> Option<Job<'a>> {
        match (lane, target.zig, target.run) {
            ("lint", ..) => Some(Box::new(|| self.lint(target))),
            ("link", Some(zig), _) => Some(Box::new(|| self.link(target, zig))),
            ("run", _, Some(Run::Tests { prefix, packages, runner })) => {
                Some(Box::new(|| self.test(target, prefix, packages, runner)))
            }
            ("kernel", _, Some(Run::Kernel)) => Some(Box::new(|| self.kernel(target))),
            ("wasm", _, Some(Run::Wasm)) => Some(Box::new(|| self.wasm(target))),
            _ => None,
        }
    }

    /// Runs a line of shell that makes sure of something.
    fn have(&self, line: &str) -> Result<()> {
        let log = File::create(self.root.join("logs/have.log"))?;
        let done = Command::new("sh")
            .args(["-ec", line])
            .current_dir(&self.root)
            .stderr(log.try_clone()?)
            .stdout(log)
            .status()?;
        if done.success() { Ok(()) } else { Err(format!("`{line}` failed").into()) }
    }

    fn have_packages(&self, packages: &str) -> Result<()> {
        self.have(&format!(
            "dpkg -s {packages} >/dev/null 2>&1 || {{ apt-get update -qq
            apt-get install -y -qq --no-install-recommends {packages}; }}"
        ))
    }

    fn cargo(&self, target: &Target, folder: &Path, subcommand: &str) -> Command {
        let mut cargo = Command::new("cargo");
        cargo.current_dir(folder).env("CARGO_TARGET_DIR", self.root.join("build"));
        cargo.args([subcommand, "--quiet", "--target", target.triple]);
        if target.std == Std::Source {
            cargo.env("RUSTC_BOOTSTRAP", "1").arg("-Zbuild-std=std,panic_unwind,test");
        }
        cargo
    }

    /// Runs a step, its output going to a log, and gives what that says in one line.
    fn step(
        &self,
        target: &Target,
        lane: &str,
        mut command: Command,
        line: impl Fn(&str) -> String,
    ) -> Result<Cell> {
        let path = self.root.join(format!("logs/{}-{lane}.log", target.triple));
        let log = File::create(&path)?;
        let start = Instant::now();
        let status = command.stdin(Stdio::null()).stderr(log.try_clone()?).stdout(log).status()?;
        let text = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
        if status.success() {
            return Ok(Cell::Passed(start.elapsed().as_secs_f64(), line(&text)));
        }
        let first = text.lines().find(|line| line.starts_with("error") || line.contains("FAILED"));
        Ok(Cell::Failed(format!("{} ({})", first.unwrap_or("see the log"), path.display())))
    }

    fn lint(&self, target: &Target) -> Result<Cell> {
        let mut clippy = self.cargo(target, &self.workspace, "clippy");
        if let Some(Run::Tests { prefix, packages, .. }) = target.run {
            // Dependencies of the tests have C in them.
            self.have_packages(packages)?;
            clippy.env(c_compiler(target), format!("{prefix}-gcc"));
        }
        let drop_ins = ["--package", "mio", "--package", "polling"];
        clippy.args(["--package", "anypoll"]);
        let note = match target.lint {
            Lint::All => {
                clippy.args(drop_ins).arg("--all-targets");
                "with tests, and the drop-ins"
            }
            Lint::Libraries => {
                clippy.args(drop_ins).args(["--lib", "--features", "anypoll/channel,anypoll/net"]);
                "the library and the drop-ins"
            }
            Lint::Lib(features) => {
                clippy.args(["--lib", "--features", features]);
                "the library"
            }
        };
        clippy.args(["--", "-D", "warnings"]);
        self.step(target, "lint", clippy, |_| note.into())
    }

    /// A package of its own for one of our programs, which has the library's dependencies alone.
    fn program(&self, name: &str, features: &str) -> Result<PathBuf> {
        let folder = self.root.join(name);
        fs::create_dir_all(&folder)?;
        let source = self.workspace.join(format!("crates/xtask/programs/{name}.rs"));
        let library = self.workspace.join("crates/anypoll");
        let manifest = format!(
            "[package]\nname = {name:?}\nversion = \"0.0.0\"\nedition = \"2024\"\n\
             [[bin]]\nname = {name:?}\npath = {source:?}\n\
             [dependencies]\nanypoll = {{ path = {library:?}, features = [{features}] }}\n\
             [workspace]\n"
        );
        fs::write(folder.join("Cargo.toml"), manifest)?;
        Ok(folder)
    }

    fn pip(&self, package: &str) -> Result<()> {
        self.have(&format!(
            "test -e python || python3 -m venv python
            python/bin/pip install -q {package}"
        ))
    }

    fn link(&self, target: &Target, zig: &str) -> Result<Cell> {
        self.pip("ziglang")?;
        let linker = self.root.join(format!("zig-{zig}"));
        let python = self.root.join("python/bin/python");
        // What rustc asks of another linker, and the libraries that zig does not bring.
        let script = format!(
            "#!/bin/bash\nargs=()\nfor arg; do case $arg in\n\
             --target=*|-m64|-Wl,-O1|-lkvm|-lmemstat|-lprocstat|-ldevstat|-lexecinfo|-liconv) ;;\n\
             *) args+=(\"$arg\") ;;\nesac; done\n\
             exec {} -m ziglang cc -target {zig} \"${{args[@]}}\"\n",
            python.display()
        );
        fs::write(&linker, script)?;
        self.have(&format!("chmod +x {}", linker.display()))?;
        let folder = self.program("every_call", "\"channel\", \"net\"")?;
        let mut build = self.cargo(target, &folder, "build");
        build.env(variable(target, "LINKER"), linker).env("CARGO_PROFILE_DEV_STRIP", "none");
        self.step(target, "link", build, |_| String::new())
    }

    fn test(&self, target: &Target, prefix: &str, packages: &str, runner: &str) -> Result<Cell> {
        self.have_packages(packages)?;
        let gcc = format!("{prefix}-gcc");
        let mut test = self.cargo(target, &self.workspace, "test");
        test.env(variable(target, "LINKER"), &gcc);
        if let Some((folder, _)) = runner.rsplit_once('/').filter(|_| runner.starts_with('/')) {
            let flags = format!(
                "-C link-arg=-Wl,--dynamic-linker={runner} -C link-arg=-Wl,-rpath={folder}"
            );
            test.env(variable(target, "RUSTFLAGS"), flags);
        } else {
            test.env(variable(target, "RUNNER"), runner);
        }
        test.env(c_compiler(target), &gcc);
        test.args(["--package", "anypoll"]).args(TESTS);
        if runner.starts_with("qemu") {
            test.arg("--").args(NOT_UNDER_QEMU.iter().flat_map(|name| ["--skip", name]));
        }
        self.step(target, "run", test, results)
    }

    fn kernel(&self, target: &Target) -> Result<Cell> {
        self.have_packages("qemu-system-x86 cpio busybox-static")?;
        let mut test = self.cargo(target, &self.workspace, "test");
        test.env("RUSTFLAGS", "-C target-feature=+crt-static");
        test.env("CARGO_TARGET_DIR", self.root.join("static"));
        test.args(["--no-run", "--message-format=json", "--package", "anypoll"]);
        test.args(["--test", "contract", "--test", "epoll_fallback"]);
        let output = test.stderr(Stdio::inherit()).output()?;
        let text = String::from_utf8(output.stdout)?;
        let mut programs = Vec::new();
        for line in text.lines() {
            let message: serde_json::Value = serde_json::from_str(line)?;
            programs.extend(message["executable"].as_str().map(str::to_owned));
        }
        if !output.status.success() || programs.is_empty() {
            return Ok(Cell::Failed("the tests do not build".into()));
        }
        let mut boot = Command::new("bash");
        boot.arg(self.workspace.join("crates/xtask/programs/kernel.sh"));
        boot.arg(&self.root).args(&programs);
        self.step(target, "kernel", boot, results)
    }

    fn wasm(&self, target: &Target) -> Result<Cell> {
        // Of another version the Python face denies `bind`.
        self.pip("wasmtime==46.0.1")?;
        let folder = self.program("wasi", "")?;
        let module = self.root.join(format!("build/{}/debug/wasi.wasm", target.triple));
        let built =
            self.step(target, "wasm", self.cargo(target, &folder, "build"), |_| String::new())?;
        if !matches!(built, Cell::Passed(..)) {
            return Ok(built);
        }
        let mut run = Command::new(self.root.join("python/bin/python"));
        run.arg(self.workspace.join("crates/xtask/programs/wasi.py")).arg(module);
        run.arg(&folder);
        self.step(target, "wasm", run, |text| text.lines().collect::<Vec<_>>().join(", "))
    }
}

/// How many tests passed.
fn results(text: &str) -> String {
    let passed = text.lines().filter_map(|line| {
        let (_, rest) = line.split_once("test result: ok. ")?;
        rest.split(' ').next()?.parse::<u32>().ok()
    });
    format!("{} tests passed", passed.sum::<u32>())
}

fn c_compiler(target: &Target) -> String {
    format!("CC_{}", target.triple.replace('-', "_"))
}

fn variable(target: &Target, what: &str) -> String {
    format!("CARGO_TARGET_{}_{what}", target.triple.replace('-', "_").to_uppercase())
}
