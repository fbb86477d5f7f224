//! libuv, libev and libevent, each through its own shim in C.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use crate::peers::{Mode, Peer, WAKE};

/// `struct face` of c/peer.h.
#[repr(C)]
pub(crate) struct Face {
    version: unsafe extern "C" fn(*mut c_char, usize),
    make: unsafe extern "C" fn() -> NonNull<c_void>,
    destroy: unsafe extern "C" fn(NonNull<c_void>),
    add: unsafe extern "C" fn(NonNull<c_void>, c_int, usize, c_int) -> NonNull<c_void>,
    rearm: unsafe extern "C" fn(NonNull<c_void>),
    forget: unsafe extern "C" fn(NonNull<c_void>, NonNull<c_void>),
    run: unsafe extern "C" fn(NonNull<c_void>, i64, Each, *mut c_void),
    waker: unsafe extern "C" fn(NonNull<c_void>, usize),
    wake: unsafe extern "C" fn(NonNull<c_void>),
}

type Each = unsafe extern "C" fn(*mut c_void, usize);

unsafe extern "C" {
    safe static libuv: Face;
    safe static libev: Face;
    safe static libevent: Face;
}

pub(crate) trait Library: 'static {
    const NAME: &'static str;
    const MODES: &'static [Mode];
    fn face() -> &'static Face;
}

pub(crate) enum Libuv {}
pub(crate) enum Libev {}
pub(crate) enum Libevent {}

impl Library for Libuv {
    const NAME: &'static str = "libuv";
    const MODES: &'static [Mode] = &[Mode::Level];

    fn face() -> &'static Face {
        &libuv
    }
}

impl Library for Libev {
    const NAME: &'static str = "libev";
    const MODES: &'static [Mode] = &[Mode::Level];

    fn face() -> &'static Face {
        &libev
    }
}

impl Library for Libevent {
    const NAME: &'static str = "libevent";
    const MODES: &'static [Mode] = &[Mode::Level, Mode::Edge, Mode::Oneshot];

    fn face() -> &'static Face {
        &libevent
    }
}

/// Name and version, as the library itself says them.
pub(crate) fn version<L: Library>() -> String {
    let mut buffer = [0; 64];
    // SAFETY: the buffer has room for as much as is said.
    unsafe { (L::face().version)(buffer.as_mut_ptr().cast(), buffer.len()) };
    CStr::from_bytes_until_nul(&buffer).unwrap().to_string_lossy().into_owned()
}

struct Loop {
    face: &'static Face,
    pointer: NonNull<c_void>,
}

// SAFETY: only the thread that has the `CPeer` runs the loop; others only wake it, which each of
// the libraries allows; and whoever drops the last handle is alone with it.
unsafe impl Send for Loop {}
// SAFETY: as above.
unsafe impl Sync for Loop {}

impl Drop for Loop {
    fn drop(&mut self) {
        // SAFETY: nobody else has it any more, and workloads remove what they add.
        unsafe { (self.face.destroy)(self.pointer) };
    }
}

pub(crate) struct CPeer<L> {
    inner: Arc<Loop>,
    library: std::marker::PhantomData<L>,
}

impl<L: Library> Peer for CPeer<L> {
    const NAME: &'static str = L::NAME;
    const MODES: &'static [Mode] = L::MODES;
    const TAKES_A_NUMBER_TWICE: bool = false;
    type Key = NonNull<c_void>;

    fn new() -> Self {
        let face = L::face();
        // SAFETY: it takes nothing; what fails in it ends the process.
        let pointer = unsafe { (face.make)() };
        Self { inner: Loop { face, pointer }.into(), library: std::marker::PhantomData }
    }

    #[inline(always)]
    fn add(&mut self, fd: BorrowedFd<'_>, token: usize, mode: Mode) -> Self::Key {
        let mode = match mode {
            Mode::Level => 0,
            Mode::Edge => 1,
            Mode::Oneshot => 2,
        };
        // SAFETY: the loop lives, and this is its thread.
        unsafe { (self.inner.face.add)(self.inner.pointer, fd.as_raw_fd(), token, mode) }
    }

    #[inline(always)]
    fn rearm(&mut self, key: &Self::Key, _: BorrowedFd<'_>, _: usize) {
        // SAFETY: `add` made it, and `remove` takes it away.
        unsafe { (self.inner.face.rearm)(*key) };
    }

    #[inline(always)]
    fn remove(&mut self, key: Self::Key, _: BorrowedFd<'_>) {
        // SAFETY: `add` made it, for this loop, and nobody has it after.
        unsafe { (self.inner.face.forget)(self.inner.pointer, key) };
    }

    #[inline(always)]
    fn wait(&mut self, timeout: Option<Duration>, mut each: impl FnMut(usize)) {
        unsafe extern "C" fn call<F: FnMut(usize)>(each: *mut c_void, token: usize) {
            // SAFETY: it is the closure below, which `wait` lends until the loop has run.
            let each = unsafe { &mut *each.cast::<F>() };
            each(token);
        }
        fn call_for<F: FnMut(usize)>(_: &F) -> Each {
            call::<F>
        }
        let nanos = timeout.map_or(-1, |timeout| i64::try_from(timeout.as_nanos()).unwrap());
        let call = call_for(&each);
        let each = (&raw mut each).cast();
        // SAFETY: the loop lives, this is its thread, and the closure outlives the call.
        unsafe { (self.inner.face.run)(self.inner.pointer, nanos, call, each) };
    }

    fn waker(&mut self) -> impl Fn() + Send + Sync + Clone + use<L> {
        // SAFETY: the loop lives, and this is its thread.
        unsafe { (self.inner.face.waker)(self.inner.pointer, WAKE) };
        let inner = self.inner.clone();
        // SAFETY: the loop lives as long as `inner`, and its waker was made above.
        move || unsafe { (inner.face.wake)(inner.pointer) }
    }
}
