//! Oneshot in all that can happen between a report and the next question, and what the kernel is told.
#![cfg(target_os = "linux")]

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use polling::{AsRawSource, Event, Events, PollMode, Poller};

const PATIENCE: Duration = Duration::from_secs(20);

fn add(poller: &Poller, source: impl AsRawSource, interest: Event) {
    // SAFETY: whatever a test adds it deletes, or drops after its last wait.
    unsafe { poller.add(source, interest) }.unwrap();
}

fn look(poller: &Poller) -> Vec<Event> {
    let mut events = Events::new();
    poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
    events.iter().collect()
}

fn pair() -> (UnixStream, UnixStream) {
    let (a, b) = UnixStream::pair().unwrap();
    a.set_nonblocking(true).unwrap();
    (a, b)
}

/// Reads until nothing is left, and tells how much that was.
fn drain(mut stream: &UnixStream) -> usize {
    let (mut sum, mut buffer) = (0, [0; 64]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return sum,
            Ok(count) => sum += count,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                return sum;
            }
        }
    }
}

/// Serves armed objects promptly, until the poller keeps account of them. Their keys are their indices.
fn serve_promptly(poller: &Poller, pairs: &[(UnixStream, UnixStream)]) {
    for _ in 0..16 {
        pairs.iter().for_each(|(_, b)| (&mut &*b).write_all(b"x").unwrap());
        assert_eq!(look(poller).len(), pairs.len());
        for (key, (a, _)) in pairs.iter().enumerate() {
            assert_eq!(drain(a), 1);
            poller.modify(a, Event::readable(key)).unwrap();
        }
    }
}

/// What the kernel is told, where the poller keeps account.
#[cfg(all(target_pointer_width = "64", not(feature = "tracing")))]
mod account {
    use std::cell::Cell;
    use std::fs;
    use std::os::fd::AsRawFd;

    use super::*;

    /// What the kernel's one epoll that watches the object knows of it.
    fn in_the_kernel(source: &UnixStream) -> String {
        let start = format!("tfd: {:8} ", source.as_raw_fd());
        let all = fs::read_dir("/proc/self/fdinfo").unwrap();
        // Another test may close its descriptors meanwhile.
        all.filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok())
            .find_map(|info| info.lines().find(|line| line.starts_with(&start)).map(str::to_owned))
            .expect("it is registered")
    }

    fn is_oneshot_in_the_kernel(source: &UnixStream) -> bool {
        let events = in_the_kernel(source).split_whitespace().nth(3).unwrap().to_owned();
        u32::from_str_radix(&events, 16).unwrap() & libc::EPOLLONESHOT.cast_unsigned() != 0
    }

    #[test]
    fn who_has_read_all_is_rearmed_without_a_system_call() {
        let poller = Poller::new().unwrap();
        let (a, b) = pair();
        add(&poller, &a, Event::none(0));
        poller.modify(&a, Event::readable(0)).unwrap();
        let key = Cell::new(0);
        let serve = || {
            (&mut &b).write_all(b"x").unwrap();
            assert_eq!(look(&poller), [Event::readable(key.get())]);
            assert_eq!(drain(&a), 1);
            key.set(key.get() + 1);
            poller.modify(&a, Event::readable(key.get())).unwrap();
        };
        for _ in 0..3 {
            for _ in 0..16 {
                assert!(is_oneshot_in_the_kernel(&a));
                serve();
            }
            assert!(!is_oneshot_in_the_kernel(&a));
            let known = in_the_kernel(&a);
            for _ in 0..100 {
                serve();
                assert_eq!(in_the_kernel(&a), known);
            }
            // One that is still ready when nobody asks is taken off, and begins anew.
            (&mut &b).write_all(b"x").unwrap();
            assert_eq!(look(&poller).len(), 1);
            assert_eq!(in_the_kernel(&a), known);
            assert_eq!(look(&poller), []);
            assert!(is_oneshot_in_the_kernel(&a));
            assert_eq!(drain(&a), 1);
            poller.modify(&a, Event::readable(key.get())).unwrap();
        }
    }

    #[test]
    fn who_is_late_is_left_to_the_kernel() {
        let poller = Poller::new().unwrap();
        let (a, mut b) = pair();
        add(&poller, &a, Event::readable(0));
        for _ in 0..40 {
            b.write_all(b"x").unwrap();
            assert_eq!(look(&poller), [Event::readable(0)]);
            assert_eq!(look(&poller), []);
            assert_eq!(drain(&a), 1);
            poller.modify(&a, Event::readable(0)).unwrap();
            assert!(is_oneshot_in_the_kernel(&a));
        }
    }

    /// What can be written mostly stays so; others may look at the descriptor; a change during a wait
    /// has to be told from what the wait has seen before.
    #[test]
    fn the_kernel_keeps_account_where_the_poller_would_do_it_badly() {
        let poller = Poller::new().unwrap();
        let pairs = [pair()];
        let a = &pairs[0].0;
        add(&poller, a, Event::readable(0));
        for interest in [Event::writable(0), Event::all(0), Event::none(0)] {
            serve_promptly(&poller, &pairs);
            assert!(!is_oneshot_in_the_kernel(a));
            poller.modify(a, interest).unwrap();
            assert!(is_oneshot_in_the_kernel(a));
            poller.modify(a, Event::readable(0)).unwrap();
        }

        serve_promptly(&poller, &pairs);
        thread::scope(|scope| {
            let waiter = scope.spawn(|| poller.wait(&mut Events::new(), Some(PATIENCE)).unwrap());
            let start = Instant::now();
            while !is_oneshot_in_the_kernel(a) {
                assert!(start.elapsed() < PATIENCE, "the kernel is not told");
                poller.modify(a, Event::readable(0)).unwrap();
            }
            poller.notify().unwrap();
            assert_eq!(waiter.join().unwrap(), 0);
        });

        serve_promptly(&poller, &pairs);
        assert!(!is_oneshot_in_the_kernel(a));
        poller.as_raw_fd();
        poller.modify(a, Event::readable(0)).unwrap();
        assert!(is_oneshot_in_the_kernel(a));
    }
}

#[test]
fn a_hang_up_that_was_reported_comes_again_only_when_asked_for() {
    const TIME: Duration = Duration::from_millis(20);
    let poller = Poller::new().unwrap();
    let pairs = [pair()];
    add(&poller, &pairs[0].0, Event::readable(0));
    serve_promptly(&poller, &pairs);
    let [(a, b)] = pairs;
    drop(b);
    for _ in 0..10 {
        let seen = look(&poller);
        assert!(seen.len() == 1 && seen[0].is_interrupt(), "{seen:?}");
        for _ in 0..2 {
            let (mut events, start) = (Events::new(), Instant::now());
            assert_eq!(poller.wait(&mut events, Some(TIME)).unwrap(), 0);
            assert!(start.elapsed() >= TIME);
        }
        poller.modify(&a, Event::readable(0)).unwrap();
    }
}

#[test]
fn a_report_leaves_nothing_to_a_number_that_comes_again() {
    let poller = Poller::new().unwrap();
    for key in 0..20 {
        let pairs = [pair()];
        add(&poller, &pairs[0].0, Event::readable(0));
        serve_promptly(&poller, &pairs);
        let [(a, mut b)] = pairs;
        poller.modify(&a, Event::readable(key)).unwrap();
        b.write_all(b"x").unwrap();
        assert_eq!(look(&poller), [Event::readable(key)]);
        if key % 2 == 0 {
            assert_eq!(look(&poller), []);
        }
        poller.delete(&a).unwrap();
        let missing = poller.modify(&a, Event::readable(key)).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        add(&poller, &a, Event::none(key));
        // SAFETY: it is deleted below.
        let twice = unsafe { poller.add(&a, Event::readable(key)) }.unwrap_err();
        assert_eq!(twice.kind(), ErrorKind::AlreadyExists);
        assert_eq!(look(&poller), []);
        poller.delete(&a).unwrap();
    }
}

#[test]
fn what_is_no_open_descriptor_is_an_error_that_costs_nothing() {
    let poller = Poller::new().unwrap();
    // SAFETY: nothing has this number.
    let error = unsafe { poller.add(i32::MAX, Event::readable(1)) }.unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EBADF));
}

/// As another process with the same descriptor might do, which is not known here.
#[test]
fn what_was_not_added_through_it_is_left_out() {
    let poller = Poller::new().unwrap();
    let (a, b) = pair();
    let (events, data) = ((libc::EPOLLOUT | libc::EPOLLONESHOT) as u32, 1000);
    let mut event = libc::epoll_event { events, u64: data };
    let (epoll, fd) = (poller.as_raw_fd(), a.as_raw_fd());
    // SAFETY: both are open, and the call reads the record.
    assert_eq!(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event) }, 0);
    assert_eq!(look(&poller), []);
    add(&poller, &b, Event::writable(1000));
    assert_eq!(look(&poller), [Event::writable(1000)]);
}

/// Numbers that look random and are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

/// One object as it should be.
struct Model {
    is_added: bool,
    asked: Option<Event>,
    mode: PollMode,
    unread: usize,
}

impl Model {
    fn new(key: usize) -> Self {
        let asked = Some(Event::readable(key));
        Self { is_added: true, asked, mode: PollMode::Oneshot, unread: 0 }
    }

    fn expected(&self) -> Option<Event> {
        let asked = self.asked?;
        let readable = asked.readable && self.unread > 0;
        (readable || asked.writable).then(|| Event::new(asked.key, readable, asked.writable))
    }
}

#[test]
fn each_question_has_one_answer() {
    const OBJECTS: usize = 5;
    let mut numbers = Numbers(1);
    for _ in 0..200 {
        let poller = Poller::new().unwrap();
        let pairs: Vec<_> = (0..OBJECTS).map(|_| pair()).collect();
        for (key, (a, _)) in pairs.iter().enumerate() {
            add(&poller, a, Event::readable(key));
        }
        serve_promptly(&poller, &pairs);
        let mut models: Vec<_> = (0..OBJECTS).map(Model::new).collect();
        for step in 0..100 {
            let which = numbers.below(OBJECTS);
            let (model, (a, b)) = (&mut models[which], &pairs[which]);
            // Some keys are shared.
            let key = which / 2 * 1000 + numbers.below(2);
            let interest = match numbers.below(12) {
                0 => Event::none(key),
                1 => Event::writable(key),
                2 => Event::all(key),
                _ => Event::readable(key),
            };
            match numbers.below(8) {
                0 if model.is_added => {
                    poller.delete(a).unwrap();
                    (model.is_added, model.asked) = (false, None);
                }
                0 => {
                    add(&poller, a, interest);
                    model.is_added = true;
                    (model.asked, model.mode) = (Some(interest), PollMode::Oneshot);
                }
                1 | 2 if model.is_added => {
                    let (level, oneshot) = (PollMode::Level, PollMode::Oneshot);
                    let mode = if numbers.below(8) == 0 { level } else { oneshot };
                    poller.modify_with_mode(a, interest, mode).unwrap();
                    (model.asked, model.mode) = (Some(interest), mode);
                }
                3 => {
                    (&mut &*b).write_all(b"x").unwrap();
                    model.unread += 1;
                }
                4 | 5 => {
                    assert_eq!(drain(a), model.unread);
                    model.unread = 0;
                }
                _ => {
                    let mut expected: Vec<_> = models.iter().filter_map(Model::expected).collect();
                    for model in &mut models {
                        if model.mode == PollMode::Oneshot && model.expected().is_some() {
                            model.asked = None;
                        }
                    }
                    let mut seen = look(&poller);
                    let order = |event: &Event| (event.key, event.readable, event.writable);
                    seen.sort_by_key(order);
                    expected.sort_by_key(order);
                    assert_eq!(seen, expected, "step {step}");
                }
            }
        }
    }
}

/// What a look of another thread brings that runs beside `change`.
fn look_beside(poller: &Poller, change: impl FnOnce()) -> Vec<Event> {
    let both = Barrier::new(2);
    thread::scope(|scope| {
        let look = scope.spawn(|| {
            both.wait();
            look(poller)
        });
        both.wait();
        change();
        look.join().unwrap()
    })
}

/// What a wait has of an object is out of date once another thread has read all and asked again.
#[test]
fn a_change_overtakes_what_a_wait_has_seen() {
    const PAIRS: usize = 256;
    let pairs: Vec<_> = (0..PAIRS).map(|_| pair()).collect();
    for _ in 0..20 {
        let poller = Poller::new().unwrap();
        for (key, (a, _)) in pairs.iter().enumerate() {
            add(&poller, a, Event::readable(key));
        }
        serve_promptly(&poller, &pairs);
        pairs.iter().for_each(|(_, b)| (&mut &*b).write_all(b"x").unwrap());
        assert_eq!(look(&poller).len(), PAIRS);
        let seen = look_beside(&poller, || {
            for (key, (a, _)) in pairs.iter().enumerate().rev() {
                assert_eq!(drain(a), 1);
                poller.modify(a, Event::readable(key)).unwrap();
            }
        });
        assert_eq!(seen, []);
    }
}

/// What a wait has of an object is not about the one that was added under its number meanwhile.
#[test]
fn a_number_that_comes_again_overtakes_what_a_wait_has_seen() {
    const PAIRS: usize = 256;
    let pairs: Vec<_> = (0..PAIRS).map(|_| pair()).collect();
    for _ in 0..100 {
        let poller = Poller::new().unwrap();
        for (key, (a, b)) in pairs.iter().enumerate() {
            (&mut &*b).write_all(b"x").unwrap();
            add(&poller, a, Event::readable(key));
        }
        let mut seen = look_beside(&poller, || {
            for (key, (a, _)) in pairs.iter().enumerate().rev() {
                assert_eq!(drain(a), 1);
                poller.delete(a).unwrap();
                add(&poller, a, Event::readable(PAIRS + key));
            }
        });
        seen.retain(|event| event.key >= PAIRS);
        assert_eq!(seen, []);
        assert_eq!(look(&poller), []);
    }
}

/// Threads that add what nobody has added before, while another one waits.
#[test]
fn what_many_threads_add_is_reported_once() {
    const EACH: usize = 120;
    let sockets: Vec<_> = (0..2 * EACH).map(|_| pair()).collect();
    for _ in 0..100 {
        let poller = Poller::new().unwrap();
        let all = Barrier::new(3);
        let mut seen = Vec::new();
        thread::scope(|scope| {
            for part in 0..2 {
                let (poller, all, sockets) = (&poller, &all, &sockets);
                scope.spawn(move || {
                    all.wait();
                    for (key, (a, _)) in sockets.iter().enumerate().skip(part).step_by(2) {
                        add(poller, a, Event::writable(key));
                    }
                });
            }
            all.wait();
            while seen.len() < sockets.len() {
                let mut events = Events::new();
                assert_ne!(poller.wait(&mut events, Some(PATIENCE)).unwrap(), 0);
                seen.extend(events.iter());
            }
        });
        seen.sort_by_key(|event| event.key);
        let expected: Vec<_> = (0..sockets.len()).map(Event::writable).collect();
        assert_eq!(seen, expected);
        assert_eq!(look(&poller), []);
    }
}

/// A worker that reads and asks again while another thread waits.
#[test]
fn no_report_is_out_of_date_and_none_is_lost() {
    const PAIRS: usize = 8;
    const EACH: usize = 20_000;
    let poller = Poller::new().unwrap();
    let pairs: Vec<_> = (0..PAIRS).map(|_| pair()).collect();
    for (key, (a, _)) in pairs.iter().enumerate() {
        add(&poller, a, Event::readable(key));
    }
    let done = AtomicBool::new(false);
    let (reports, reported) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut events = Events::new();
            while !done.load(SeqCst) {
                events.clear();
                let count = poller.wait(&mut events, Some(PATIENCE)).unwrap();
                assert!(count > 0 || done.load(SeqCst), "a report was lost");
                events.iter().for_each(|event| reports.send(event.key).unwrap());
            }
        });
        scope.spawn(|| {
            for _ in 0..EACH {
                pairs.iter().for_each(|(_, b)| (&mut &*b).write_all(b"x").unwrap());
            }
        });
        let mut missing: HashMap<_, _> = (0..PAIRS).map(|key| (key, EACH)).collect();
        while !missing.is_empty() {
            let key = reported.recv_timeout(PATIENCE).expect("no report is lost");
            let read = drain(&pairs[key].0);
            assert_ne!(read, 0, "a report of what had been read before");
            let left = missing.get_mut(&key).unwrap();
            *left -= read;
            if *left == 0 {
                missing.remove(&key);
            }
            poller.modify(&pairs[key].0, Event::readable(key)).unwrap();
        }
        done.store(true, SeqCst);
        poller.notify().unwrap();
    });
}
