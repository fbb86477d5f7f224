//! The objects of a backend whose kernel keeps no account of them.

use std::collections::HashMap;
use std::io;

use super::AddError;
use super::arming::Arming;
use crate::event::Token;
use crate::sys::{self, Handle, OwnedHandle, RawHandle};

/// Names one registration, and never a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(super) index: usize,
    id: u64,
}

#[derive(Debug)]
pub(super) struct Object<X> {
    id: u64,
    /// The user's own.
    handle: RawHandle,
    /// Our own, so that whoever closes the object takes nothing away from a running wait.
    pub(super) duplicate: OwnedHandle,
    pub(super) token: Token,
    pub(super) arming: Arming,
    /// What the backend itself keeps.
    #[allow(dead_code, reason = "poll(2) keeps nothing")]
    pub(super) extra: X,
}

impl<X> Object<X> {
    pub(super) fn new(
        handle: Handle<'_>,
        token: Token,
        arming: Arming,
        extra: impl FnOnce(&OwnedHandle) -> Result<X, AddError>,
    ) -> Result<Self, AddError> {
        // Asked before there is a duplicate: closing that one would end the process's record locks
        // on a file (`F_SETLK` in fcntl(2)).
        if sys::is_always_ready(handle)? {
            return Err(AddError::AlwaysReady);
        }
        let duplicate = sys::duplicate(handle)?;
        let extra = extra(&duplicate)?;
        Ok(Self { id: 0, handle: sys::raw(handle), duplicate, token, arming, extra })
    }
}

#[derive(Debug)]
pub(super) struct Sources<X> {
    by_handle: HashMap<RawHandle, Key>,
    slots: Vec<Option<Object<X>>>,
    free: Vec<usize>,
    last_id: u64,
}

impl<X> Default for Sources<X> {
    fn default() -> Self {
        Self { by_handle: HashMap::new(), slots: Vec::new(), free: Vec::new(), last_id: 0 }
    }
}

impl<X> Sources<X> {
    pub(super) fn find(&self, handle: Handle<'_>) -> io::Result<Key> {
        Ok(self.by_handle.get(&sys::raw(handle)).copied().ok_or(io::ErrorKind::NotFound)?)
    }

    /// What an object that was closed without a removal has left under this handle.
    pub(super) fn find_stale(&self, handle: Handle<'_>) -> io::Result<Option<Key>> {
        let key = self.by_handle.get(&sys::raw(handle)).copied();
        let object = key.and_then(|key| self.slots[key.index].as_ref());
        let same = object.map(|object| sys::is_same_object(&object.duplicate, handle));
        if same.transpose()? == Some(true) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(key)
    }

    pub(super) fn insert(&mut self, mut object: Object<X>) -> Key {
        self.last_id += 1;
        object.id = self.last_id;
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let key = Key { index, id: object.id };
        self.by_handle.insert(object.handle, key);
        self.slots[index] = Some(object);
        key
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Object<X>> {
        self.slots[key.index].as_mut().filter(|object| object.id == key.id)
    }

    /// Names the object anew, so that what was found out under the old name is outdated.
    #[allow(dead_code, reason = "the completion state machine knows what is outdated")]
    pub(super) fn rename(&mut self, key: Key) -> Key {
        self.last_id += 1;
        let renamed = Key { id: self.last_id, ..key };
        if let Some(object) = self.get_mut(key) {
            object.id = renamed.id;
            let handle = object.handle;
            self.by_handle.insert(handle, renamed);
        }
        renamed
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Object<X>> {
        let handle = self.get_mut(key)?.handle;
        self.by_handle.remove(&handle);
        self.free.push(key.index);
        self.slots[key.index].take()
    }

    /// All objects, those from `first` on before the others.
    pub(super) fn iter_from(&self, first: usize) -> impl Iterator<Item = (Key, &Object<X>)> {
        let (before, after) = self.slots.split_at(first.min(self.slots.len()));
        let indexed = after.iter().zip(first..).chain(before.iter().zip(0..));
        indexed.filter_map(|(slot, index)| {
            let object = slot.as_ref()?;
            Some((Key { index, id: object.id }, object))
        })
    }
}
