//! `cargo xtask peers`: the tests of published crates, over the crates that ours replace and over
//! ours.
//!
//! A helper manifest makes cargo fetch the peers. The source of each is copied out of cargo's
//! registry to `target/peers/original/NAME` and to `target/peers/ours/NAME`, the one as published,
//! the other with `[patch.crates-io]` and otherwise the same `Cargo.lock`. `cargo tree -i` says on
//! both sides what was linked. The test programs are then built and run one by one, and compared
//! test by test, and so are its examples, some of which are talked to. A peer that is itself what we
//! replace has its tests and examples compiled beside an empty library, against the crate as a
//! dependency.
//!
//! A test that fails is tried again, alone, before it counts: neighbours and a busy machine are not
//! what is compared. Output goes to `target/peers/SIDE/NAME.log`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use toml::{Table, toml};

use crate::Result;

pub(crate) const USAGE: &str = "  peers [--quick] [NAME...]
      Run published crates' own tests over polling and mio and over our replacements of them.
      --quick  a part of them that takes a few minutes
      NAME     only these peers";

struct Peer {
    name: &'static str,
    package: &'static str,
    version: &'static str,
    /// The crate that ours replaces.
    over: &'static str,
    features: &'static [&'static str],
    tests: Tests,
    /// Whether it publishes examples, and what becomes of some of them.
    examples: Option<&'static [(&'static str, Example)]>,
    quick: Quick,
}

/// What a working example does.
#[derive(Clone, Copy)]
enum Example {
    /// It ends by itself.
    Ends,
    /// It serves at a port of this machine, and says to who says the one thing the other.
    Tcp(u16, &'static str, &'static str),
    Udp(u16, &'static str, &'static str),
}

enum Tests {
    /// Its own, in its own package.
    Own,
    /// The same, where the package must not stand in for itself: that would be a circle.
    OwnOnly,
    /// Its own, with the package being what is replaced.
    OfTheReplaced,
    /// Ours, for a peer that publishes none which need it: the manifest's dependencies and a file.
    Program(&'static str, &'static str),
}

/// What of a peer is run with `--quick`.
enum Quick {
    Nothing,
    All,
    /// The test programs whose names begin so.
    Only(&'static [&'static str]),
}

impl Peer {
    const fn over_polling(name: &'static str, version: &'static str, tests: Tests) -> Self {
        let (package, over) = (name, "polling");
        Self {
            name,
            package,
            version,
            over,
            features: &[],
            tests,
            examples: None,
            quick: Quick::All,
        }
    }

    const fn over_mio(name: &'static str, version: &'static str, tests: Tests) -> Self {
        Self { over: "mio", ..Self::over_polling(name, version, tests) }
    }
}

/// Of certain versions, so that a release of theirs does not change what a run says.
const PEERS: &[Peer] = &[
    Peer {
        // The others ask something of their surroundings.
        examples: Some(&[]),
        ..Peer::over_polling("polling", "3.11.0", Tests::OfTheReplaced)
    },
    Peer { examples: Some(&[]), ..Peer::over_polling("async-io", "2.6.0", Tests::Own) },
    Peer {
        features: &["block_on", "executor", "signals", "stream"],
        ..Peer::over_polling("calloop", "0.14.5", Tests::Own)
    },
    Peer::over_polling("async-process", "2.5.0", Tests::Own),
    Peer::over_polling("async-signal", "0.2.14", Tests::Own),
    Peer {
        features: &["attributes", "unstable"],
        quick: Quick::Nothing,
        ..Peer::over_polling("async-std", "1.13.2", Tests::OwnOnly)
    },
    Peer {
        package: "smol",
        ..Peer::over_polling(
            "smol-program",
            "2.0.2",
            Tests::Program("smol = '=2.0.2'", include_str!("../programs/smol.rs")),
        )
    },
    Peer {
        examples: Some(&[
            ("linux-timerfd", Example::Ends),
            ("tcp-server", Example::Tcp(7000, "to and fro", "to and fro")),
            ("chat-server", Example::Tcp(6000, "hello\n", "says: hello\n")),
            ("simple-server", Example::Tcp(8000, GET, "Hello!")),
            ("async-h1-server", Example::Tcp(8000, GET, "200 OK")),
            ("hyper-server", Example::Tcp(8000, GET, "200 OK")),
            ("websocket-server", Example::Tcp(9000, HANDSHAKE, "101 Switching Protocols")),
        ]),
        quick: Quick::Nothing,
        ..Peer::over_polling("smol", "2.0.2", Tests::OwnOnly)
    },
    Peer {
        features: &["os-poll", "os-ext", "net"],
        examples: Some(&[
            ("tcp_server", Example::Tcp(9000, "hello", "Hello world!\n")),
            ("udp_server", Example::Udp(9000, "to and fro", "to and fro")),
        ]),
        ..Peer::over_mio("mio", "1.2.5", Tests::OfTheReplaced)
    },
    Peer {
        features: &["event-stream", "osc52"],
        examples: Some(&[]),
        quick: Quick::Nothing,
        ..Peer::over_mio("crossterm", "0.29.0", Tests::Own)
    },
    Peer { examples: Some(&[]), ..Peer::over_mio("mio-serial", "5.0.7", Tests::Own) },
    Peer {
        features: &["full", "test-util"],
        quick: Quick::Only(&["io_async_fd", "net_", "process_", "signal_", "tcp_", "udp", "uds_"]),
        ..Peer::over_mio("tokio", "1.54.1", Tests::Own)
    },
    Peer {
        package: "tokio",
        ..Peer::over_mio(
            "tokio-program",
            "1.54.1",
            Tests::Program(
                "tokio = { version = '=1.54.1', features = ['full'] }",
                include_str!("../programs/tokio.rs"),
            ),
        )
    },
    Peer {
        features: &["full"],
        quick: Quick::Nothing,
        ..Peer::over_mio("tokio-util", "0.7.20", Tests::Own)
    },
    Peer { features: &["support-v1_0"], ..Peer::over_mio("signal-hook-mio", "0.2.5", Tests::Own) },
    Peer::over_mio(
        "axum",
        "0.8.9",
        Tests::Program(
            "axum = '=0.8.9'\ntokio = { version = '=1.54.1', features = ['full'] }",
            include_str!("../programs/axum.rs"),
        ),
    ),
];

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const HANDSHAKE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";

/// smol's examples have an identity that OpenSSL 3 reads only so.
const WITH_OLD_CIPHERS: &str = "openssl_conf = all\n[all]\nproviders = providers\n[providers]\n\
    default = on\nlegacy = on\n[on]\nactivate = 1\n";

const FOR_AN_ANSWER: Duration = Duration::from_secs(20);
const FOR_A_PROGRAM: Duration = Duration::from_secs(300);
const FOR_ONE_TEST: Duration = Duration::from_secs(60);

/// Returns whether every test that passes on the original passes on ours.
pub(crate) fn run(args: impl Iterator<Item = String>) -> Result<bool> {
    let mut quick = false;
    let mut names = BTreeSet::new();
    for arg in args {
        match &*arg {
            "--quick" => quick = true,
            name if PEERS.iter().any(|peer| peer.name == name) => drop(names.insert(arg)),
            _ => {
                let known: Vec<_> = PEERS.iter().map(|peer| peer.name).collect();
                return Err(format!("{arg}: not one of {}\n\n{USAGE}", known.join(" ")).into());
            }
        }
    }
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let root = workspace.join("target/peers");
    let peers: Vec<_> = PEERS
        .iter()
        .filter(|peer| names.is_empty() || names.contains(peer.name))
        .filter(|peer| !quick || !matches!(peer.quick, Quick::Nothing))
        .collect();
    let sources = fetch(&root, &peers)?;

    let mut rows = Vec::new();
    let mut not_run = Vec::new();
    for peer in peers {
        match compare(&root, &workspace, peer, &sources, quick) {
            Ok(row) => rows.push(row),
            Err(error) => not_run.push(format!("{} COULD NOT BE RUN: {error}", peer.name)),
        }
    }
    let good = report(&rows);
    not_run.iter().for_each(|line| println!("{line}"));
    Ok(good && not_run.is_empty())
}

fn compare(
    root: &Path,
    workspace: &Path,
    peer: &Peer,
    sources: &BTreeMap<String, Source>,
    quick: bool,
) -> Result<Row> {
    let source = sources.get(peer.package).ok_or("there is no such version")?;
    eprintln!("{} {}", peer.name, source.version);
    let original = Side::prepare(root, workspace, peer, source, "original")?;
    let ours = Side::prepare(root, workspace, peer, source, "ours")?;
    eprintln!("  over {} and {}", original.tree()?, ours.tree()?);
    Ok(Row {
        name: peer.name,
        version: source.version.clone(),
        original: original.test(quick)?,
        ours: ours.test(quick)?,
    })
}

fn replacement(workspace: &Path, name: &str) -> PathBuf {
    workspace.join("crates").join(name)
}

struct Source {
    version: String,
    folder: PathBuf,
}

/// Where cargo has put the source of each peer.
fn fetch(root: &Path, peers: &[&Peer]) -> Result<BTreeMap<String, Source>> {
    let folder = root.join("manifest");
    let mut manifest = toml! {
        [package]
        name = "peers"
        version = "0.0.0"
        edition = "2024"
        [lib]
        path = "lib.rs"
        [workspace]
        [dependencies]
    };
    for peer in peers {
        table(&mut manifest, "dependencies")
            .insert(peer.package.into(), format!("={}", peer.version).into());
    }
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("Cargo.toml"), manifest.to_string())?;
    fs::write(folder.join("lib.rs"), "")?;
    let output = output(cargo(&folder).args(["metadata", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&output)?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata names no packages")?;
    let named = packages.iter().map(|package| {
        let text = |key: &str| package[key].as_str().unwrap_or_default();
        (text("name"), text("version"), Path::new(text("manifest_path")))
    });
    let wanted = named.filter(|(name, version, _)| {
        peers.iter().any(|peer| peer.package == *name && peer.version == *version)
    });
    Ok(wanted
        .map(|(name, version, manifest)| {
            let folder = manifest.parent().unwrap_or(manifest).to_path_buf();
            (name.to_owned(), Source { version: version.to_owned(), folder })
        })
        .collect())
}

/// One peer, over the original or over ours.
struct Side<'a> {
    peer: &'a Peer,
    name: &'a str,
    folder: PathBuf,
    target: PathBuf,
    log: PathBuf,
    openssl: PathBuf,
    /// The test programs that cargo is to build, and whether each is of the standard harness.
    programs: BTreeMap<String, bool>,
    examples: BTreeSet<String>,
    /// What `cargo tree` is asked for: `NAME@MAJOR`.
    replaced: String,
}

impl<'a> Side<'a> {
    fn prepare(
        root: &Path,
        workspace: &Path,
        peer: &'a Peer,
        source: &Source,
        name: &'a str,
    ) -> Result<Self> {
        let side = root.join(name);
        let folder = side.join(peer.name);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        let mut manifest: Table = match peer.tests {
            Tests::Own | Tests::OwnOnly | Tests::OfTheReplaced => {
                copy(&source.folder, &folder)?;
                fs::read_to_string(folder.join("Cargo.toml"))?.parse()?
            }
            Tests::Program(dependencies, program) => {
                fs::create_dir_all(folder.join("tests"))?;
                fs::write(folder.join("tests/program.rs"), program)?;
                let package = "[package]\nname = 'program'\nversion = '0.0.0'\nedition = '2024'\n";
                format!(
                    "{package}[lib]\npath = 'lib.rs'\n[dependencies]\n{dependencies}\n\
                     [[test]]\nname = 'program'\npath = 'tests/program.rs'\n"
                )
                .parse()?
            }
        };
        fs::write(folder.join("lib.rs"), "")?;
        // Else it would belong to the workspace around it.
        manifest.insert("workspace".into(), Table::new().into());
        let mut patch = Table::new();
        match peer.tests {
            Tests::Own => {
                // Its test helpers depend on it too.
                patch.insert(peer.name.into(), at(&folder));
            }
            Tests::OfTheReplaced => {
                let package = table(&mut manifest, "package");
                package.insert("name".into(), format!("{}-tests", peer.name).into());
                table(&mut manifest, "lib").extend(toml! { name = "tests" path = "lib.rs" });
                let dependency =
                    toml! { version = (peer.version) features = (peer.features.to_vec()) };
                table(&mut manifest, "dependencies").insert(peer.name.into(), dependency.into());
            }
            Tests::OwnOnly | Tests::Program(..) => {}
        }
        if name == "ours" {
            patch.insert(peer.over.into(), at(&replacement(workspace, peer.over)));
        }
        table(&mut manifest, "patch").insert("crates-io".into(), patch.into());
        fs::write(folder.join("Cargo.toml"), manifest.to_string())?;

        let lock = folder.join("Cargo.lock");
        let original = root.join("original").join(peer.name).join("Cargo.lock");
        if lock == original {
            output(cargo(&folder).arg("generate-lockfile"))?;
        }
        let version = locked(&original, peer.over)?;
        if lock != original {
            fs::copy(original, lock)?;
            output(cargo(&folder).args(["update", "-p", &format!("{}@{version}", peer.over)]))?;
        }
        let replaced = format!("{}@{}", peer.over, version.split('.').next().unwrap_or_default());
        let openssl = root.join("openssl.cnf");
        fs::write(&openssl, WITH_OLD_CIPHERS)?;
        let log = side.join(format!("{}.log", peer.name));
        File::create(&log)?;
        let programs = programs(&manifest);
        let examples = names(&manifest, "example").filter(|_| peer.examples.is_some()).collect();
        // What does not depend on the replaced crate is built once for both sides.
        let target = root.join("target");
        Ok(Self { peer, name, folder, target, log, openssl, programs, examples, replaced })
    }

    fn cargo(&self) -> Command {
        let mut cargo = cargo(&self.folder);
        cargo.env("CARGO_TARGET_DIR", &self.target);
        cargo.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_INCREMENTAL", "0");
        cargo
    }

    fn features(&self) -> [String; 2] {
        ["--features".to_owned(), self.peer.features.join(",")]
    }

    /// What is replaced, as cargo links it: an error unless it is the right one.
    fn tree(&self) -> Result<String> {
        let tree = output(self.cargo().args(["tree", "-i", &self.replaced]).args(self.features()))?;
        let line = tree.lines().next().unwrap_or_default();
        let is_ours = line.contains(&*format!("crates/{}", self.peer.over));
        if is_ours == (self.name == "ours") {
            Ok(line.to_owned())
        } else {
            Err(format!("{} of {} links {line}", self.peer.name, self.name).into())
        }
    }

    fn test(&self, quick: bool) -> Result<Outcomes> {
        let wanted = |name: &str| match self.peer.quick {
            Quick::Only(prefixes) if quick => prefixes.iter().any(|p| name.starts_with(p)),
            _ => true,
        };
        let mut build = self.build();
        let whole = !quick || matches!(self.peer.quick, Quick::All);
        if !whole {
            let chosen = self.programs.keys().filter(|name| wanted(name));
            build.args(chosen.flat_map(|name| ["--test", name]));
        } else {
            build.arg("--tests");
        }
        let mut outcomes = Outcomes::default();
        self.each_program(build, |target, program| {
            let name = target["name"].as_str().unwrap_or_default();
            let name = match target["kind"][0].as_str() {
                Some("example") => return Ok(()),
                Some("test") => name,
                _ => "(unit)",
            };
            eprintln!("  {:8} {name}", self.name);
            self.execute(name, program, &mut outcomes)?;
            outcomes.built.insert(name.to_owned());
            Ok(())
        })?;
        let mut all: BTreeSet<_> =
            self.programs.keys().filter(|name| wanted(name)).cloned().collect();
        if let (Some(working), true) = (self.peer.examples, whole) {
            let mut build = self.build();
            build.arg("--examples");
            self.each_program(build, |target, program| {
                let name = target["name"].as_str().unwrap_or_default();
                eprintln!("  {:8} example {name}", self.name);
                outcomes.tests.insert(format!("example {name} compiles"), true);
                outcomes.built.insert(format!("example {name}"));
                for (_, example) in working.iter().filter(|(known, _)| *known == name) {
                    let works = self.works(program, *example)?;
                    outcomes.tests.insert(format!("example {name} works"), works);
                }
                Ok(())
            })?;
            all.extend(self.examples.iter().map(|name| format!("example {name}")));
        }
        outcomes.not_built =
            all.into_iter().filter(|name| !outcomes.built.contains(name)).collect();
        Ok(outcomes)
    }

    fn build(&self) -> Command {
        let mut build = self.cargo();
        build.args(["build", "--keep-going", "--message-format", "json-render-diagnostics"]);
        build.args(self.features());
        build
    }

    /// Runs a build, and hands on what it has built that can be run.
    fn each_program(
        &self,
        mut build: Command,
        mut then: impl FnMut(&Value, &Path) -> Result<()>,
    ) -> Result<()> {
        let built = build.stderr(self.append()?).stdin(Stdio::null()).output()?;
        for line in String::from_utf8(built.stdout)?.lines() {
            let message: Value = serde_json::from_str(line)?;
            if let Some(program) = message["executable"].as_str() {
                then(&message["target"], Path::new(program))?;
            }
        }
        Ok(())
    }

    fn works(&self, program: &Path, example: Example) -> Result<bool> {
        let (over_udp, port, say, hear) = match example {
            Example::Ends => return Ok(self.attempt(program, &[], FOR_ONE_TEST)?.0),
            Example::Tcp(port, say, hear) => (false, port, say, hear),
            Example::Udp(port, say, hear) => (true, port, say, hear),
        };
        let mut child = self.spawn(program, &[])?;
        let end = Instant::now() + FOR_AN_ANSWER;
        let mut heard = false;
        // Until it listens, there is nobody.
        while !heard && Instant::now() < end && child.try_wait()?.is_none() {
            heard = answers(over_udp, port, say, hear).unwrap_or(false);
            thread::sleep(Duration::from_millis(20));
        }
        child.kill()?;
        child.wait()?;
        Ok(heard)
    }

    fn spawn(&self, program: &Path, args: &[&str]) -> Result<Child> {
        writeln!(self.append()?, "\n$ {} {}", program.display(), args.join(" "))?;
        Ok(Command::new(program)
            .args(args)
            .current_dir(&self.folder)
            .env("CARGO_MANIFEST_DIR", &self.folder)
            .env("OPENSSL_CONF", &self.openssl)
            // As a terminal with nobody at it: neither input nor an end, while `child` lives.
            .stdin(Stdio::piped())
            .stdout(self.append()?)
            .stderr(self.append()?)
            .spawn()?)
    }

    fn execute(&self, target: &str, program: &Path, outcomes: &mut Outcomes) -> Result<()> {
        if self.programs.get(target) == Some(&false) {
            let (passed, _) = self.attempt(program, &[], FOR_A_PROGRAM)?;
            outcomes.tests.insert(format!("{target} (as a whole)"), passed);
            return Ok(());
        }
        let (_, listed) = self.attempt(program, &["--list"], FOR_ONE_TEST)?;
        let (_, printed) = self.attempt(program, &[], FOR_A_PROGRAM)?;
        for test in listed.lines().filter_map(|line| line.strip_suffix(": test")) {
            // `#[should_panic]` has a remark behind the name.
            let said = |outcome: &str| {
                let ends = [format!(" ... {outcome}"), format!(" ... {outcome},")];
                printed.lines().filter_map(|line| line.strip_prefix("test ")).any(|line| {
                    line.strip_prefix(test).is_some_and(|rest| {
                        let rest = rest.strip_prefix(" - should panic").unwrap_or(rest);
                        rest == ends[0] || rest.starts_with(&ends[1])
                    })
                })
            };
            if said("ignored") {
                continue;
            }
            let name = format!("{target}::{test}");
            let mut passed = said("ok");
            for _ in 0..2 {
                if !passed {
                    passed = self.attempt(program, &["--exact", test], FOR_ONE_TEST)?.0;
                    outcomes.tried_again.insert(name.clone());
                }
            }
            outcomes.tests.insert(name, passed);
        }
        Ok(())
    }

    /// Runs a program into the log. Returns whether it succeeded in time, and what it printed.
    fn attempt(&self, program: &Path, args: &[&str], limit: Duration) -> Result<(bool, String)> {
        let mut log = self.append()?;
        let start = log.seek(SeekFrom::End(0))?;
        let mut child = self.spawn(program, args)?;
        let end = Instant::now() + limit;
        let status = loop {
            match child.try_wait()? {
                Some(status) => break Some(status),
                None if Instant::now() < end => thread::sleep(Duration::from_millis(20)),
                None => {
                    child.kill()?;
                    child.wait()?;
                    writeln!(log, "\nkilled after {limit:?}")?;
                    break None;
                }
            }
        };
        let mut file = File::open(&self.log)?;
        file.seek(SeekFrom::Start(start))?;
        let mut printed = Vec::new();
        file.read_to_end(&mut printed)?;
        let passed = status.is_some_and(|status| status.success());
        Ok((passed, String::from_utf8_lossy(&printed).into_owned()))
    }

    fn append(&self) -> Result<File> {
        Ok(File::options().append(true).open(&self.log)?)
    }
}

#[derive(Default)]
struct Outcomes {
    /// Those that were run, and whether they passed.
    tests: BTreeMap<String, bool>,
    tried_again: BTreeSet<String>,
    built: BTreeSet<String>,
    not_built: BTreeSet<String>,
}

impl Outcomes {
    fn passed(&self) -> usize {
        self.tests.values().filter(|passed| **passed).count()
    }
}

struct Row {
    name: &'static str,
    version: String,
    original: Outcomes,
    ours: Outcomes,
}

fn report(rows: &[Row]) -> bool {
    println!("| peer | version | tests | passed on the original | passed on ours |");
    println!("|---|---|---|---|---|");
    for Row { name, version, original, ours } in rows {
        let (total, before, now) = (original.tests.len(), original.passed(), ours.passed());
        println!("| {name} | {version} | {total} | {before} | {now} |");
    }
    let mut good = true;
    for Row { name, original, ours, .. } in rows {
        for target in &original.not_built {
            println!("{name}: {target} cannot be built as published");
        }
        for target in ours.not_built.difference(&original.not_built) {
            println!("{name}: {target} CANNOT BE BUILT on ours");
            good = false;
        }
        for (test, passed) in &original.tests {
            match (passed, ours.tests.get(test).copied().unwrap_or(false)) {
                (true, false) => {
                    println!("{name}: {test} FAILS on ours");
                    good = false;
                }
                (false, true) => println!("{name}: {test} fails on the original only"),
                (false, false) => println!("{name}: {test} fails on both"),
                (true, true) if ours.tried_again.contains(test) => {
                    println!("{name}: {test} passes on ours, but did not at first");
                }
                (true, true) => {}
            }
        }
    }
    good
}

fn cargo(folder: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(folder);
    cargo
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?}: {}\n{said}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn table<'a>(manifest: &'a mut Table, name: &str) -> &'a mut Table {
    let value = manifest.entry(name).or_insert_with(|| Table::new().into());
    value.as_table_mut().expect("a section of a manifest is a table")
}

fn at(folder: &Path) -> toml::Value {
    Table::from_iter([("path".to_owned(), folder.display().to_string().into())]).into()
}

/// Whether a server at a port of this machine says what it is to say.
fn answers(over_udp: bool, port: u16, say: &str, hear: &str) -> io::Result<bool> {
    const FOR_ONE_READ: Option<Duration> = Some(Duration::from_secs(1));
    let address = (Ipv4Addr::LOCALHOST, port);
    let mut heard = Vec::new();
    let mut buf = [0; 4096];
    if over_udp {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_read_timeout(FOR_ONE_READ)?;
        socket.send_to(say.as_bytes(), address)?;
        let count = socket.recv(&mut buf)?;
        heard.extend(&buf[..count]);
        return Ok(String::from_utf8_lossy(&heard).contains(hear));
    }
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(FOR_ONE_READ)?;
    stream.write_all(say.as_bytes())?;
    while !String::from_utf8_lossy(&heard).contains(hear) {
        match stream.read(&mut buf)? {
            0 => return Ok(false),
            count => heard.extend(&buf[..count]),
        }
    }
    Ok(true)
}

/// What a published manifest lists of one kind, which is all.
fn names(manifest: &Table, kind: &str) -> impl Iterator<Item = String> {
    let listed = manifest.get(kind).and_then(toml::Value::as_array).into_iter().flatten();
    listed.filter_map(|one| Some(one.get("name")?.as_str()?.to_owned()))
}

/// The test programs that a published manifest lists, which is all.
fn programs(manifest: &Table) -> BTreeMap<String, bool> {
    let tests = manifest.get("test").and_then(toml::Value::as_array);
    let described = tests.into_iter().flatten().filter_map(|test| {
        let harness = test.get("harness").and_then(toml::Value::as_bool).unwrap_or(true);
        Some((test.get("name")?.as_str()?.to_owned(), harness))
    });
    described.collect()
}

/// The newest version of a package in a `Cargo.lock`.
fn locked(lock: &Path, name: &str) -> Result<String> {
    let lock: Table = fs::read_to_string(lock)?.parse()?;
    let packages = lock.get("package").and_then(toml::Value::as_array);
    let mut named =
        packages.into_iter().flatten().filter(|package| package["name"].as_str() == Some(name));
    // They are sorted.
    let newest = named.next_back().and_then(|package| package["version"].as_str());
    Ok(newest.ok_or_else(|| format!("{name} is not a dependency"))?.to_owned())
}

/// Copies a crate's source, without the lock file that it was published with.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let destination = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &destination)?;
        } else if entry.file_name() != "Cargo.lock" {
            fs::copy(entry.path(), destination)?;
        }
    }
    Ok(())
}
