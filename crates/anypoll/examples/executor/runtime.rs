//! An async executor for one thread, made to be copied: futures over registered objects, timers,
//! tasks. No `unsafe`, and no run queue: a task's waker is an `anypoll::Waker`, so what is to be
//! polled next is what the next wait reports.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use anypoll::timers::Timers;
use anypoll::{Events, Interest, Mode, Poller, Registered, Source, Token};

/// Runs futures.
pub(crate) struct Executor {
    poller: Poller,
    /// The tasks by their tokens; `None` while one is polled.
    tasks: RefCell<HashMap<Token, Option<Task>>>,
    /// Who waits for the objects, by their tokens.
    objects: RefCell<HashMap<Token, Rc<Waiting>>>,
    timers: RefCell<Timers<Waker>>,
    last_token: Cell<usize>,
}

type Task = (Pin<Box<dyn Future<Output = ()>>>, Waker);

#[derive(Default)]
struct Waiting {
    reader: Cell<Option<Waker>>,
    writer: Cell<Option<Waker>>,
}

impl Executor {
    /// One without tasks.
    pub(crate) fn new(poller: Poller) -> Rc<Self> {
        Rc::new(Self {
            poller,
            tasks: RefCell::default(),
            objects: RefCell::default(),
            timers: RefCell::default(),
            last_token: Cell::new(0),
        })
    }

    fn token(&self) -> Token {
        self.last_token.set(self.last_token.get() + 1);
        Token(self.last_token.get())
    }

    /// Adds a task.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        let token = self.token();
        let waker = self.poller.waker(token);
        // The next wait has it polled for the first time.
        waker.wake();
        self.tasks.borrow_mut().insert(token, Some((Box::pin(future), waker.into())));
    }

    /// Runs until every task is done.
    pub(crate) fn run(&self) -> io::Result<()> {
        let mut events = Events::default();
        while !self.tasks.borrow().is_empty() {
            let deadline = self.timers.borrow().next_deadline();
            self.poller.wait_until(&mut events, deadline)?;
            let now = Instant::now();
            while let Some((_, waker)) = self.timers.borrow_mut().expire(now) {
                waker.wake();
            }
            for event in &events {
                if let Some(waiting) = self.objects.borrow().get(&event.token()) {
                    let reader = event.is_readable().then(|| waiting.reader.take());
                    let writer = event.is_writable().then(|| waiting.writer.take());
                    [reader, writer].into_iter().flatten().flatten().for_each(Waker::wake);
                } else {
                    self.poll_task(event.token());
                }
            }
        }
        Ok(())
    }

    fn poll_task(&self, token: Token) {
        // A wake may come after the end of its task.
        let task = self.tasks.borrow_mut().get_mut(&token).and_then(Option::take);
        let Some((mut future, waker)) = task else { return };
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        let mut tasks = self.tasks.borrow_mut();
        match polled {
            Poll::Ready(()) => tasks.remove(&token),
            Poll::Pending => tasks.insert(token, Some((future, waker))),
        };
    }

    /// Watches an object, which must be non-blocking.
    pub(crate) fn register<S: Source>(self: &Rc<Self>, source: S) -> io::Result<Async<S>> {
        let token = self.token();
        let both = Interest::READABLE | Interest::WRITABLE;
        let object = self.poller.register(source, token, both, Mode::Edge)?;
        let waiting = Rc::<Waiting>::default();
        self.objects.borrow_mut().insert(token, waiting.clone());
        Ok(Async { object, waiting, executor: self.clone() })
    }

    /// What the future gives, or `None` if that takes longer.
    pub(crate) async fn timeout<T>(
        &self,
        after: Duration,
        future: impl Future<Output = T>,
    ) -> Option<T> {
        let (mut future, deadline, mut key) = (pin!(future), Instant::now() + after, None);
        poll_fn(|context| {
            let polled = future.as_mut().poll(context).map(Some);
            let mut timers = self.timers.borrow_mut();
            key.take().and_then(|key| timers.cancel(key));
            if polled.is_pending() {
                if Instant::now() >= deadline {
                    return Poll::Ready(None);
                }
                key = Some(timers.insert(deadline, context.waker().clone()));
            }
            polled
        })
        .await
    }
}

/// An object whose calls can be awaited, by one reader and one writer at a time.
pub(crate) struct Async<S: Source> {
    object: Registered<S>,
    waiting: Rc<Waiting>,
    executor: Rc<Executor>,
}

impl<S: Source> Async<S> {
    /// Calls until it would not have blocked.
    pub(crate) async fn io<T>(
        &self,
        direction: Interest,
        mut call: impl FnMut(&S) -> io::Result<T>,
    ) -> io::Result<T> {
        let Waiting { reader, writer } = &*self.waiting;
        let waiting = if direction == Interest::READABLE { reader } else { writer };
        poll_fn(|context| match self.object.try_io(direction, &mut call) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                waiting.set(Some(context.waker().clone()));
                Poll::Pending
            }
            result => Poll::Ready(result),
        })
        .await
    }
}

impl<S: Source> Drop for Async<S> {
    fn drop(&mut self) {
        self.executor.objects.borrow_mut().remove(&self.object.token());
    }
}
