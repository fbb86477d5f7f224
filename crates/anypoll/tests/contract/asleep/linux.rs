//! By `/proc`.

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn this_thread() -> PathBuf {
    let me = fs::read_link("/proc/thread-self").unwrap();
    Path::new("/proc").join(me).join("stat")
}

pub(crate) fn is_asleep(stat: &PathBuf) -> bool {
    let stat = fs::read_to_string(stat);
    stat.is_ok_and(|stat| stat.rsplit_once(") ").unwrap().1.starts_with('S'))
}
