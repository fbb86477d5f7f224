//! `cargo xtask targets --control`: do the lanes see faults? Each lane gets a copy of the tree with a
//! fault planted in it, and has to fail, for that reason, on each of its targets.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;

/// A fault for the lane of that name.
struct Fault {
    lane: &'static str,
    file: &'static str,
    /// What is replaced; if nothing, the end of the file.
    old: &'static str,
    new: &'static str,
    /// What is in the lane's log if it was seen.
    seen: &'static str,
}

const FAULTS: [Fault; 4] = [
    // A function that none of these systems has.
    Fault {
        lane: "link",
        file: "crates/anypoll/src/sys/unix.rs",
        old: "",
        new: "unsafe extern \"C\" { fn epoll_pwait2(); }\n\
              #[used] static PLANTED: unsafe extern \"C\" fn() = epoll_pwait2;\n",
        seen: "epoll_pwait2",
    },
    // Promise 11: the error of an object that is registered already.
    Fault {
        lane: "run",
        file: "crates/anypoll/src/backend/sources.rs",
        old: "return Err(io::ErrorKind::AlreadyExists.into())",
        new: "return Err(io::ErrorKind::AddrInUse.into())",
        seen: "AlreadyExists",
    },
    // Promise 1: what is ready is reported, under its token.
    Fault {
        lane: "wasm",
        file: "crates/anypoll/src/event.rs",
        old: "self.0.token()",
        new: "Token(987_654_321)",
        seen: "987654321",
    },
    // An old kernel's answer is taken for an error.
    Fault {
        lane: "kernel",
        file: "crates/anypoll/src/backend/epoll.rs",
        old: "Some(libc::ENOSYS | libc::EPERM)",
        new: "Some(libc::EPERM)",
        seen: "Function not implemented",
    },
];

/// Where what depends on the system is, for the lint lane: each file gets a type error.
const FOLDERS: [&str; 3] =
    ["crates/anypoll/src/backend", "crates/anypoll/src/os", "crates/anypoll/src/sys"];

fn planted(what: &str) -> String {
    format!("planted for {what}")
}

fn type_error(cfg: &str, what: &str) -> String {
    format!("\n#[cfg(all({cfg}))]\nconst _: () = {:?};\n", planted(what))
}

fn append(file: &Path, text: &str) -> Result<()> {
    Ok(fs::write(file, fs::read_to_string(file)? + text)?)
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files(&path, found)?;
        } else if !path.ends_with("native.rs") {
            // That one is for systems without a backend.
            found.push(path);
        }
    }
    Ok(())
}

/// Makes the copy for a lane, in which each of `triples` has a type error of its own if that is what
/// the lane is about.
pub(crate) fn plant(tree: &Path, copy: &Path, lane: &str, triples: &[&str]) -> Result<()> {
    let _ = fs::remove_dir_all(copy);
    fs::create_dir_all(copy)?;
    let copying = "git ls-files -z --cached --others --exclude-standard \
        | xargs -0 cp --parents --target-directory \"$0\"";
    let copied = Command::new("sh").args(["-c", copying]).arg(copy).current_dir(tree).status()?;
    if !copied.success() {
        return Err("the tree cannot be copied".into());
    }
    for fault in FAULTS.iter().filter(|fault| fault.lane == lane) {
        let file = copy.join(fault.file);
        let text = fs::read_to_string(&file)?;
        let new = match fault.old {
            "" => text.clone() + fault.new,
            old => text.replace(old, fault.new),
        };
        if new == text {
            return Err(format!("{}: nothing to plant the fault of {lane} in", fault.file).into());
        }
        fs::write(file, new)?;
    }
    if lane == "lint" {
        for file in system_files(copy)? {
            append(&copy.join(&file), &type_error("", &file))?;
        }
        let mut own = String::new();
        for triple in triples {
            let rustc =
                Command::new("rustc").args(["--print", "cfg", "--target", triple]).output()?;
            let printed = String::from_utf8(rustc.stdout)?;
            let cfg = printed.lines().filter(|line| line.starts_with("target_"));
            let cfg = cfg.filter(|line| !line.starts_with("target_feature"));
            write!(own, "{}", type_error(&cfg.collect::<Vec<_>>().join(", "), triple))?;
        }
        append(&copy.join("crates/anypoll/src/lib.rs"), &own)?;
    }
    Ok(())
}

/// The files of [`FOLDERS`], by their paths in the tree.
fn system_files(tree: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for folder in FOLDERS {
        files(&tree.join(folder), &mut found)?;
    }
    Ok(found
        .iter()
        .filter_map(|file| Some(file.strip_prefix(tree).ok()?.to_str()?.to_owned()))
        .collect())
}

/// Whether the lane's log shows the fault.
pub(crate) fn is_seen(lane: &str, triple: &str, log: &str) -> bool {
    let fault = FAULTS.iter().find(|fault| fault.lane == lane);
    log.contains(&fault.map_or_else(|| planted(triple), |fault| fault.seen.to_owned()))
}

/// The files of which no lint showed the type error.
pub(crate) fn unseen(tree: &Path, logs: &[String]) -> Result<Vec<String>> {
    let seen = |file: &String| logs.iter().any(|log| log.contains(&planted(file)));
    Ok(system_files(tree)?.into_iter().filter(|file| !seen(file)).collect())
}
