//! `cargo xtask targets`: every system, as far as one Linux machine reaches.
//!
//! Six lanes, each a column of the table that is printed:
//!
//! - *lint*: clippy, which checks first, with warnings denied. The standard library comes from
//!   rustup; for a target that rustup has none for it is built from rustup's source.
//! - *link*: a program that calls everything and the contract's tests, with `zig cc`, so that a symbol
//!   which the system lacks is found.
//! - *run*: the tests, on this kernel: 32-bit natively, other processors under qemu.
//! - *kernel*: the contract on Linux 5.10, which lacks `epoll_pwait2`, in a machine of qemu's.
//! - *wasm*: a program under wasmtime.
//! - *wine*: `.ci/windows`.
//!
//! With `--control` each lane but the last is run over faults that were planted for it, see
//! `control.rs`.
//!
//! What is missing is installed: by rustup into the toolchain, by apt-get, and by pip into
//! `target/targets`. What cannot be had is skipped, and the table says why.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use toml::{Table, Value};

use crate::{Result, control};

pub(crate) const USAGE: &str = "  targets [--control] [--lane LANE]... [TRIPLE...]
      Check every system as far as this machine reaches, and print a table.
      --lane LANE  lint, link, run, kernel, wasm or wine; all if none is given
      --control    plant faults, which each lane but wine has to see
      TRIPLE       only these targets; some are checked only if they are named";

struct Target {
    triple: &'static str,
    std: Std,
    lint: Lint,
    /// Too rare to be looked at each time.
    rare: bool,
    /// As `zig cc` calls it.
    zig: Option<&'static str>,
    run: Run,
}

#[derive(Clone, Copy, PartialEq)]
enum Std {
    Rustup,
    /// Built from source, for want of a built one.
    Source,
}

/// What of our library and of the drop-ins is linted.
#[derive(Clone, Copy)]
struct Lint {
    name: &'static str,
    ours: &'static [&'static str],
    drop_ins: &'static [&'static str],
}

#[derive(Clone, Copy)]
enum Run {
    No,
    Tests {
        /// The compiler's prefix, Debian's package of it, and what runs the program.
        prefix: &'static str,
        packages: &'static str,
        runner: &'static str,
        /// Whether the programs stand alone, so that an old kernel can run them too.
        boots: bool,
    },
    Wasm,
    Wine,
}

const ALL: Lint = Lint {
    name: "all",
    ours: &["--all-targets", "--all-features"],
    drop_ins: &["--all-targets", "--all-features"],
};
/// Some examples are about what only a Unix has.
const WINDOWS: Lint = Lint {
    ours: &[
        "--lib",
        "--tests",
        "--example=executor",
        "--example=http_server",
        "--example=resp_*",
        "--example=tour",
        "--all-features",
    ],
    ..ALL
};
/// There are no children and no signals.
const WASI: Lint = Lint {
    ours: &["--lib", "--tests", "--example=executor", "--example=resp_*", "--all-features"],
    ..ALL
};
/// socket2 does not know the system.
const NO_SOCKET2: Lint = Lint {
    ours: &["--lib", "--tests", "--features=channel,tracing"],
    drop_ins: &["--all-targets"],
    ..ALL
};
const LIBRARIES: Lint = Lint {
    name: "libs",
    ours: &["--lib", "--all-features"],
    drop_ins: &["--lib", "--all-features"],
};

impl Target {
    const fn new(triple: &'static str, lint: Lint) -> Self {
        Self { triple, std: Std::Rustup, lint, rare: false, zig: None, run: Run::No }
    }

    const fn built(self) -> Self {
        Self { std: Std::Source, ..self }
    }

    const fn rare(self) -> Self {
        Self { rare: true, ..self.built() }
    }

    const fn linked(self, zig: &'static str) -> Self {
        Self { zig: Some(zig), ..self }
    }

    const fn run(self, run: Run) -> Self {
        Self { run, ..self }
    }
}

const TARGETS: &[Target] = &[
    Target::new("aarch64-apple-darwin", ALL).linked("aarch64-macos"),
    Target::new("x86_64-apple-darwin", ALL).linked("x86_64-macos"),
    Target::new("aarch64-apple-ios", ALL),
    Target::new("x86_64-unknown-freebsd", ALL).linked("x86_64-freebsd"),
    Target::new("x86_64-unknown-netbsd", ALL).linked("x86_64-netbsd"),
    Target::new("x86_64-unknown-openbsd", ALL).built().linked("x86_64-openbsd"),
    Target::new("x86_64-unknown-dragonfly", ALL).built(),
    Target::new("x86_64-unknown-illumos", ALL),
    Target::new("x86_64-pc-solaris", ALL).built(),
    Target::new("x86_64-pc-windows-gnu", WINDOWS).run(Run::Wine),
    Target::new("x86_64-pc-windows-msvc", WINDOWS),
    Target::new("wasm32-wasip1", NO_SOCKET2).run(Run::Wasm),
    Target::new("wasm32-wasip2", WASI).run(Run::Wasm),
    Target::new("aarch64-linux-android", ALL),
    Target::new("x86_64-unknown-fuchsia", LIBRARIES),
    Target::new("x86_64-unknown-redox", LIBRARIES),
    Target::new("x86_64-unknown-haiku", ALL).built(),
    Target::new("x86_64-unknown-hermit", NO_SOCKET2).built(),
    Target::new("riscv32imc-esp-espidf", LIBRARIES).built(),
    Target::new("aarch64-apple-tvos", LIBRARIES).rare(),
    Target::new("aarch64-apple-visionos", LIBRARIES).rare(),
    Target::new("aarch64-apple-watchos", LIBRARIES).rare(),
    Target::new("x86_64-pc-cygwin", LIBRARIES).rare(),
    Target::new("x86_64-pc-nto-qnx710", LIBRARIES).rare(),
    Target::new("x86_64-unknown-hurd-gnu", LIBRARIES).rare(),
    Target::new("x86_64-unknown-linux-musl", ALL).run(Run::Tests {
        prefix: "x86_64-linux-gnu",
        packages: "gcc",
        runner: "env",
        boots: true,
    }),
    Target::new("i686-unknown-linux-gnu", ALL).run(Run::Tests {
        prefix: "i686-linux-gnu",
        packages: "gcc-i686-linux-gnu libc6-dev-i386-cross",
        runner: "/usr/i686-linux-gnu/lib/ld-linux.so.2",
        boots: false,
    }),
    Target::new("aarch64-unknown-linux-gnu", ALL).run(Run::Tests {
        prefix: "aarch64-linux-gnu",
        packages: "gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static",
        runner: "qemu-aarch64-static -L /usr/aarch64-linux-gnu",
        boots: false,
    }),
    Target::new("s390x-unknown-linux-gnu", ALL).run(Run::Tests {
        prefix: "s390x-linux-gnu",
        packages: "gcc-s390x-linux-gnu libc6-dev-s390x-cross qemu-user-static",
        runner: "qemu-s390x-static -L /usr/s390x-linux-gnu",
        boots: false,
    }),
];

const LANES: [&str; 6] = [LINT, "link", "run", "kernel", "wasm", "wine"];
const LINT: &str = "lint";

/// The tests that are run: those that need neither strace nor a real processor.
const TESTS: &[&str] =
    &["channel", "contract", "epoll_fallback", "executor", "net", "process", "timers"];

/// What these depend on: the other dependencies are in C, or take long to build.
const TESTS_NEED: [&str; 5] = ["anypoll", "errno", "rustix", "signal-hook", "socket2"];

/// Stands in for C's compiler and its librarian where nothing is linked.
const NO_COMPILER: &str = r#"#!/bin/sh
for arg; do case $arg in *.a | *.lib) echo '!<arch>' >"${arg#-out:}" ;; esac; done
"#;

/// Tests that qemu's user mode cannot run: it has no seccomp, and no `kcmp`.
const NOT_UNDER_QEMU: &[&str] = &[
    "by_a_thread",
    "the_thread_is_there",
    "as_many_descriptors",
    "sigchld_is_the_programs",
    "what_shares_an_inode",
];

/// What installs, each one thing at a time.
static APT: Mutex<()> = Mutex::new(());
static PIP: Mutex<()> = Mutex::new(());
static RUSTUP: Mutex<()> = Mutex::new(());

enum Cell {
    Passed(String),
    Failed(String),
    Skipped(String),
}

type Cells = [Option<(Cell, Duration)>; LANES.len()];

pub(crate) fn run(mut args: impl Iterator<Item = String>) -> Result<bool> {
    let mut lanes = Vec::new();
    let mut triples = Vec::new();
    let mut control = false;
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--control" => control = true,
            "--lane" => lanes.push(args.next().ok_or(USAGE)?),
            option if option.starts_with('-') => return Err(USAGE.into()),
            _ => triples.push(arg),
        }
    }
    if !lanes.iter().all(|name| LANES.contains(&name.as_str())) {
        return Err(USAGE.into());
    }
    if let Some(other) = triples.iter().find(|name| !TARGETS.iter().any(|t| t.triple == **name)) {
        return Err(format!("{other} is not one of the targets").into());
    }
    let chosen = |t: &&Target| {
        if triples.is_empty() { !t.rare } else { triples.iter().any(|name| name == t.triple) }
    };
    let chosen: Vec<_> = TARGETS.iter().filter(chosen).collect();
    let asked = |lane: &str| lanes.is_empty() || lanes.iter().any(|name| name == lane);
    let machine = Machine::new()?;
    if control {
        return see_faults(&machine, &chosen, asked);
    }
    let cells = |apart| {
        let cell = |lane, target: &Target| {
            let wanted = asked(lane) && is_apart(lane, target) == apart;
            wanted.then(|| machine.cell(lane, target)).flatten()
        };
        let of = |target: &&Target| LANES.map(|lane| cell(lane, target));
        chosen.iter().map(of).collect::<Vec<_>>()
    };
    // Either keeps hardly more than one processor busy.
    let (those, others) = thread::scope(|scope| {
        let others = scope.spawn(|| cells(true));
        (cells(false), others.join().expect("it does not panic"))
    });
    let row = |((target, mut cells), others): ((&&Target, Cells), Cells)| {
        cells.iter_mut().zip(others).for_each(|(cell, other)| *cell = cell.take().or(other));
        (target.triple, cells)
    };
    let rows: Vec<_> = chosen.iter().zip(those).zip(others).map(row).collect();
    Ok(report(&rows))
}

/// Whether it builds in folders that the others do not use, so that neither waits for the other:
/// about half of the work.
fn is_apart(lane: &str, target: &Target) -> bool {
    let is_one_more = target.triple == "i686-unknown-linux-gnu";
    lane == "wine" || target.std == Std::Rustup && (lane == LINT || is_one_more)
}

fn see_faults(
    machine: &Machine,
    targets: &[&Target],
    asked: impl Fn(&str) -> bool,
) -> Result<bool> {
    let mut rows: Vec<(_, Cells)> = targets.iter().map(|t| (t.triple, Cells::default())).collect();
    let mut unseen = Vec::new();
    for (at, lane) in LANES.into_iter().enumerate() {
        if !asked(lane) || lane == "wine" {
            continue;
        }
        let machine = machine.with_faults(lane)?;
        let mut logs = Vec::new();
        for (target, (_, cells)) in targets.iter().zip(&mut rows) {
            cells[at] = machine.cell(lane, target);
            let Some((cell, _)) = &mut cells[at] else { continue };
            let log = fs::read(machine.log(target, lane)).unwrap_or_default();
            let log = String::from_utf8_lossy(&log).into_owned();
            *cell = match std::mem::replace(cell, Cell::Skipped(String::new())) {
                Cell::Failed(_) if control::is_seen(lane, target.triple, &log) => {
                    Cell::Passed("seen".into())
                }
                Cell::Failed(other) => Cell::Failed(format!("another error: {other}")),
                Cell::Passed(_) => Cell::Failed("the fault was not seen".into()),
                skipped @ Cell::Skipped(_) => skipped,
            };
            logs.push(log);
        }
        if lane == LINT && targets.len() >= TARGETS.iter().filter(|t| !t.rare).count() {
            unseen = control::unseen(&machine.workspace, &logs)?;
        }
    }
    let seen = report(&rows);
    for file in &unseen {
        println!("{file}: no lint saw the type error in it");
    }
    Ok(seen && unseen.is_empty())
}

fn report(rows: &[(&str, Cells)]) -> bool {
    let mut notes = Vec::new();
    let mut counts = [0; 3];
    println!("{:26}{}", "target", LANES.map(|lane| format!(" {lane:15}")).concat());
    for (triple, cells) in rows {
        print!("{triple:26}");
        for (lane, cell) in LANES.iter().zip(cells) {
            let text = cell.as_ref().map(|(cell, took)| {
                let (kind, text, note) = match cell {
                    Cell::Passed(what) => (0, what.as_str(), None),
                    Cell::Failed(note) => (1, "FAILED", Some(note)),
                    Cell::Skipped(note) => (2, "SKIPPED", Some(note)),
                };
                counts[kind] += 1;
                notes.extend(note.map(|note| format!("{triple}, {lane}: {text}: {note}")));
                format!("{text}, {:.0} s", took.as_secs_f64())
            });
            print!(" {:15}", text.unwrap_or_default());
        }
        println!();
    }
    let total = |lane: usize| rows.iter().filter_map(move |(_, cells)| cells[lane].as_ref());
    print!("{:26}", "");
    for lane in 0..LANES.len() {
        let seconds = total(lane).map(|(_, took)| took.as_secs_f64()).sum::<f64>();
        print!(" {:15}", if seconds > 0. { format!("{seconds:.0} s") } else { String::new() });
    }
    let [passed, failed, skipped] = counts;
    println!("\n\n{passed} passed, {failed} failed, {skipped} skipped");
    for note in &notes {
        println!("{note}");
    }
    println!("{LEGEND}");
    failed == 0
}

const LEGEND: &str = "\
    lint: `all` is the library and the drop-ins with their tests and examples (but for examples of \
    what the system has not), `libs` is without; link: a program that calls everything, and \
    the contract's tests";

struct Machine {
    workspace: PathBuf,
    /// Where it puts what it installs and builds.
    root: PathBuf,
    /// Where it makes packages and logs.
    folder: PathBuf,
    build: PathBuf,
}

impl Machine {
    fn new() -> Result<Self> {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
        let built = std::env::var_os("CARGO_TARGET_DIR");
        let target = built.map_or_else(|| workspace.join("target"), PathBuf::from);
        let root = target.join("targets");
        fs::create_dir_all(root.join("logs"))?;
        fs::write(root.join("no-compiler"), NO_COMPILER)?;
        fs::set_permissions(root.join("no-compiler"), Permissions::from_mode(0o755))?;
        Ok(Self { workspace, folder: root.clone(), build: root.join("build"), root })
    }

    fn with_faults(&self, lane: &str) -> Result<Self> {
        let folder = self.root.join("control").join(lane);
        fs::create_dir_all(folder.join("logs"))?;
        let workspace = folder.join("tree");
        let triples: Vec<_> = TARGETS.iter().map(|target| target.triple).collect();
        control::plant(&self.workspace, &workspace, lane, &triples)?;
        // What is built with a fault in it must not be taken for anything else: cargo knows a
        // package by its place in its workspace. A lint's faults are never built.
        let build = if lane == LINT { self.build.clone() } else { folder.join("build") };
        Ok(Self { workspace, root: self.root.clone(), folder, build })
    }

    fn log(&self, target: &Target, lane: &str) -> PathBuf {
        self.folder.join(format!("logs/{}-{lane}.log", target.triple))
    }

    fn cell(&self, lane: &str, target: &Target) -> Option<(Cell, Duration)> {
        let job: &dyn Fn() -> Result<Cell> = match (lane, target.zig, target.run) {
            (LINT, ..) => &|| self.lint(target),
            ("link", Some(zig), _) => &|| self.link(target, zig),
            ("run", _, Run::Tests { packages, .. }) => &|| self.test(target, packages),
            ("kernel", _, Run::Tests { boots: true, .. }) => &|| self.kernel(target),
            ("wasm", _, Run::Wasm) => &|| self.wasm(target),
            ("wine", _, Run::Wine) => &|| self.wine(target),
            _ => return None,
        };
        eprintln!("{lane} {}", target.triple);
        let start = Instant::now();
        let result = self.have_std(target).and_then(|()| job());
        Some((result.unwrap_or_else(|why| Cell::Skipped(why.to_string())), start.elapsed()))
    }

    /// Runs a line of shell that makes sure of something, when it is the installer's turn.
    fn have(&self, installer: &Mutex<()>, line: &str) -> Result<()> {
        let _turn = installer.lock();
        let log =
            File::options().create(true).append(true).open(self.root.join("logs/have.log"))?;
        let done = Command::new("bash")
            .args(["-ec", line])
            .current_dir(&self.root)
            .stderr(log.try_clone()?)
            .stdout(log)
            .status()?;
        if done.success() { Ok(()) } else { Err(format!("`{line}` failed").into()) }
    }

    fn have_std(&self, target: &Target) -> Result<()> {
        let line = match target.std {
            Std::Rustup => format!("rustup target add {}", target.triple),
            Std::Source => "rustup component add rust-src".into(),
        };
        self.have(&RUSTUP, &line)
    }

    fn have_packages(&self, packages: &str) -> Result<()> {
        let line = format!(
            "dpkg -s {packages} >/dev/null || {{ apt-get update -qq
            apt-get install -y -qq --no-install-recommends {packages}; }}"
        );
        self.have(&APT, &line)
    }

    fn have_python(&self, package: &str) -> Result<()> {
        let line = format!(
            "test -e python || python3 -m venv python
            python/bin/pip install -q {package}"
        );
        self.have(&PIP, &line)
    }

    fn cargo(&self, target: &Target, folder: &Path, subcommand: &str) -> Command {
        let mut cargo = limited("cargo");
        let lane = if subcommand == "clippy" { LINT } else { "" };
        let build = match target.std {
            Std::Source => "source",
            Std::Rustup if is_apart(lane, target) => "apart",
            Std::Rustup => "rustup",
        };
        cargo.current_dir(folder).env("CARGO_TARGET_DIR", self.build.join(build));
        cargo.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_PROFILE_TEST_DEBUG", "0");
        cargo.env("CARGO_INCREMENTAL", "0");
        cargo.args([subcommand, "--quiet", "--target", target.triple]);
        if target.std == Std::Source {
            cargo.env("RUSTC_BOOTSTRAP", "1").arg("-Zbuild-std=std,panic_abort,panic_unwind,test");
            // Not what names the functions in a backtrace.
            cargo.arg("-Zbuild-std-features=panic-unwind");
        }
        if let Some(zig) = target.zig {
            // The same in every lane, so that a standard library is built once.
            cargo.env(variable(target, "LINKER"), self.linker(zig));
            // What strips here does not know the format.
            cargo.env("CARGO_PROFILE_DEV_STRIP", "none").env("CARGO_PROFILE_TEST_STRIP", "none");
        }
        if let Run::Tests { prefix, .. } = target.run {
            cargo.env(variable(target, "LINKER"), format!("{prefix}-gcc"));
        }
        cargo
    }

    /// Runs the commands of a step up to the first that fails, their output going to a log, and
    /// gives what that says in a few words.
    fn step(
        &self,
        target: &Target,
        lane: &str,
        commands: impl IntoIterator<Item = Command>,
        words: impl Fn(&str) -> String,
    ) -> Result<Cell> {
        let path = self.log(target, lane);
        let log = File::create(&path)?;
        let mut status = ExitStatus::default();
        for mut command in commands {
            if status.success() {
                let output = command.stdin(Stdio::null()).stderr(log.try_clone()?);
                status = output.stdout(log.try_clone()?).status()?;
            }
        }
        let text = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
        if status.success() {
            return Ok(Cell::Passed(words(&text)));
        }
        let lines: Vec<_> = text.lines().collect();
        let is_cause = |line: &&&str| line.starts_with("error") || line.contains("FAILED");
        let none = if matches!(status.code(), None | Some(124)) {
            "it does not end"
        } else {
            "no error is named"
        };
        let first = lines.iter().find(is_cause).unwrap_or(&none);
        // Wine ends a crash with a list of every process.
        let end = lines[lines.len().saturating_sub(200)..].join("\n    ");
        Ok(Cell::Failed(format!("{first}\n  {} ends with\n    {end}", path.display())))
    }

    fn lint(&self, target: &Target) -> Result<Cell> {
        let compiler = self.root.join("no-compiler");
        let mut ours = self.cargo(target, &self.workspace, "clippy");
        ours.args(["--package", "anypoll"]).args(target.lint.ours);
        let mut drop_ins = self.cargo(target, &self.workspace, "clippy");
        drop_ins.args(["--package", "mio", "--package", "polling"]).args(target.lint.drop_ins);
        let mut commands = [ours, drop_ins];
        for command in &mut commands {
            command.env("CC", &compiler).env("AR", &compiler).env("SDKROOT", &self.root);
            // Some systems' thread-locals are expanded in a way that the lint takes for the user's.
            command.args(["--", "-D", "warnings", "-A", "clippy::missing_const_for_thread_local"]);
        }
        self.step(target, "lint", commands, |_| target.lint.name.into())
    }

    /// Our library in a package with no more dependencies than [`TESTS_NEED`].
    fn library(&self) -> Result<PathBuf> {
        let theirs = self.workspace.join("crates/anypoll");
        let ours = self.folder.join("anypoll");
        let read = |path: &Path| -> Result<Table> {
            Ok(fs::read_to_string(path.join("Cargo.toml"))?.parse()?)
        };
        let mut manifest = read(&theirs)?;
        let keep = |of: &mut Table| {
            if let Some(Value::Table(dependencies)) = of.get_mut("dev-dependencies") {
                dependencies.retain(|name, _| TESTS_NEED.contains(&name));
            }
        };
        keep(&mut manifest);
        let of_systems = manifest["target"].as_table_mut().ok_or("a table")?;
        of_systems.iter_mut().filter_map(|(_, of)| of.as_table_mut()).for_each(keep);
        let root = read(&self.workspace)?;
        let mut inherited = root["workspace"].as_table().ok_or("a table")?.clone();
        inherited.remove("members");
        inherited.remove("default-members");
        manifest.insert("workspace".into(), Value::Table(inherited));

        fs::create_dir_all(&ours)?;
        fs::write(ours.join("Cargo.toml"), manifest.to_string())?;
        for link in ["src", "examples", "tests"] {
            let _ = fs::remove_file(ours.join(link));
            symlink(theirs.join(link), ours.join(link))?;
        }
        Ok(ours)
    }

    /// A package for one of our programs.
    fn program(&self, name: &str, features: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
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

    fn link(&self, target: &Target, zig: &str) -> Result<Cell> {
        self.have_python("ziglang")?;
        let linker = self.linker(zig);
        let python = self.root.join("python/bin/python");
        // What rustc asks of another linker, and the libraries that zig does not bring. OpenBSD's
        // unwinder is in its C++ library, which zig would compile.
        let script = format!(
            "#!/bin/bash\nargs=()\nfor arg; do case $arg in\n\
             --target=*|-m64|-Wl,-O1|-lkvm|-lmemstat|-lprocstat|-ldevstat|-lexecinfo|-liconv) ;;\n\
             -lc++abi) args+=(-lunwind) ;;\n\
             *) args+=(\"$arg\") ;;\nesac; done\n\
             export ZIG_GLOBAL_CACHE_DIR={}\n\
             exec {} -m ziglang cc -target {zig} \"${{args[@]}}\"\n",
            self.root.join("zig-cache").display(),
            python.display()
        );
        fs::write(&linker, script)?;
        fs::set_permissions(&linker, Permissions::from_mode(0o755))?;
        let folder = self.program("every_call", "\"channel\", \"net\"")?;
        let build = self.cargo(target, &folder, "build");
        let mut tests = self.tests(target, &["contract"])?;
        tests.arg("--no-run");
        self.step(target, "link", [build, tests], |_| "ok".into())
    }

    fn linker(&self, zig: &str) -> PathBuf {
        self.root.join(format!("zig-{zig}"))
    }

    fn tests(&self, target: &Target, names: &[&str]) -> Result<Command> {
        let mut test = self.cargo(target, &self.library()?, "test");
        test.args(names.iter().flat_map(|name| ["--test", name]));
        Ok(test)
    }

    fn test(&self, target: &Target, packages: &str) -> Result<Cell> {
        let Run::Tests { runner, .. } = target.run else { return Err("it does not run".into()) };
        self.have_packages(packages)?;
        let mut test = self.tests(target, TESTS)?;
        test.args(["--lib", "--no-fail-fast"]);
        if let Some((folder, _)) = runner.rsplit_once('/').filter(|_| runner.starts_with('/')) {
            let flags = format!(
                "-C link-arg=-Wl,--dynamic-linker={runner} -C link-arg=-Wl,-rpath={folder}"
            );
            test.env(variable(target, "RUSTFLAGS"), flags);
        } else {
            test.env(variable(target, "RUNNER"), runner);
        }
        if runner.starts_with("qemu") {
            test.env("ANYPOLL_TEST_EMULATOR", runner);
            test.arg("--").args(NOT_UNDER_QEMU.iter().flat_map(|name| ["--skip", name]));
        }
        self.step(target, "run", [test], results)
    }

    fn kernel(&self, target: &Target) -> Result<Cell> {
        self.have_packages("qemu-system-x86 cpio busybox-static")?;
        let script = self.workspace.join("crates/xtask/programs/kernel.sh");
        self.have(&APT, &format!("bash {} {}", script.display(), self.root.display()))
            .map_err(|_| "Debian's older suite has no Linux 5.10 any more")?;
        let mut test = self.tests(target, &["contract", "epoll_fallback"])?;
        test.args(["--no-run", "--message-format=json"]);
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
        let mut boot = limited("bash");
        boot.arg(script).arg(&self.root).args(&programs);
        self.step(target, "kernel", [boot], results)
    }

    fn wasm(&self, target: &Target) -> Result<Cell> {
        // Of another version the Python face denies `bind`.
        self.have_python("wasmtime==46.0.1")?;
        let folder = self.program("wasi", "")?;
        let mut run = limited(self.root.join("python/bin/python"));
        run.arg(self.workspace.join("crates/xtask/programs/wasi.py"));
        run.arg(self.build.join("rustup").join(target.triple).join("debug/wasi.wasm")).arg(&folder);
        let build = self.cargo(target, &folder, "build");
        self.step(target, "wasm", [build, run], |text| format!("{} parts", text.lines().count()))
    }

    fn wine(&self, target: &Target) -> Result<Cell> {
        self.have(&APT, &format!("cd {}; .ci/windows install", self.workspace.display()))?;
        let mut script = limited(self.workspace.join(".ci/windows"));
        script.current_dir(&self.workspace);
        self.step(target, "wine", [script], results)
    }
}

/// A command that is ended if it hangs, with the status 124 or by SIGKILL.
fn limited(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=10", "1200"]).arg(program);
    command
}

/// How many tests passed.
fn results(text: &str) -> String {
    let passed = text.lines().filter_map(|line| {
        let (_, rest) = line.split_once("test result: ok. ")?;
        rest.split(' ').next()?.parse::<u32>().ok()
    });
    format!("{} tests", passed.sum::<u32>())
}

fn variable(target: &Target, what: &str) -> String {
    format!("CARGO_TARGET_{}_{what}", target.triple.replace('-', "_").to_uppercase())
}
