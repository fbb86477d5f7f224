//! Compiles the shims for the peers in C, if their feature is on.

fn main() {
    println!("cargo::rerun-if-changed=c");
    #[cfg(feature = "c-peers")]
    {
        let files = ["c/libuv.c", "c/libev.c", "c/libevent.c"];
        if cc::Build::new().files(files).extra_warnings(true).try_compile("peers").is_err() {
            println!(
                "cargo::error=the feature c-peers needs the headers of libuv, libev and libevent: \
                 apt-get install libuv1-dev libev-dev libevent-dev"
            );
            return;
        }
        // libev brings functions of libevent's names, too: whose library comes first, is asked.
        for library in ["event_core", "event_pthreads", "ev", "uv"] {
            println!("cargo::rustc-link-lib={library}");
        }
    }
}
