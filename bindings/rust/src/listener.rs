// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//! Listeners: traits of Rust, and the functions that the library calls for them.
use std::any::Any;
use std::fmt;
use std::os::raw::{c_int, c_void};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::process::abort;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::names::take_struct;
use crate::{sys, Errno, Error, Range, State, Vm};

/// What C gets of a function of Rust, which does not unwind into it.
pub(crate) fn answer(function: impl FnOnce() -> Result<(), Errno>) -> c_int {
    // A listener that has panicked no longer says what it holds, so no answer would be right.  The
    // message of the panic has been printed.
    match catch_unwind(AssertUnwindSafe(function)) {
        Ok(Ok(())) => 0,
        Ok(Err(errno)) => -errno.raw(),
        Err(_) => abort(),
    }
}

/// Whoever holds what the guest shares: a back end in another process, a device.  For an IOMMU the
/// library has one, [`Vm::add_iommu()`].
///
/// A page that is held does not go private, so let go of a range *before* it does, and take hold
/// *after* it has become shared and what is read there has been settled.  All functions are called
/// in the converting thread, for ranges that change, in ascending order; a conversion that fails is
/// undone by the other one.  They may block and may look states up, which are those of before the
/// conversion; what they must not do is in the rules of the crate.  A panic ends the process.
///
/// Conversions that run side by side call a listener side by side, which is why it is `Sync`.
///
/// Whoever refuses a range to be shared holds none of it, and whoever refuses to let go holds all
/// of it.
///
/// ```
/// use gmem::{Errno, Listener, Range};
/// use std::sync::Mutex;
///
/// /// Which ranges a back end has mapped.
/// #[derive(Default)]
/// struct BackEnd {
///     mapped: Mutex<Vec<(u64, u64)>>,
/// }
///
/// impl Listener for BackEnd {
///     fn before_private(&self, range: &Range) -> Result<(), Errno> {
///         let mut mapped = self.mapped.lock().map_err(|_| Errno::EBUSY)?;
///         mapped.retain(|&(offset, _)| offset != range.offset);
///         Ok(())
///     }
///
///     fn after_shared(&self, range: &Range) -> Result<(), Errno> {
///         self.mapped.lock().map_err(|_| Errno::EBUSY)?.push((range.offset, range.size));
///         Ok(())
///     }
/// }
/// ```
pub trait Listener: Send + Sync {
    /// `range` is about to go private: let go of it.
    ///
    /// # Errors
    ///
    /// Refuse the conversion.
    fn before_private(&self, range: &Range) -> Result<(), Errno>;

    /// `range` has become shared: it may be held.
    ///
    /// # Errors
    ///
    /// Refuse: then all goes back to private, as far as that is possible.
    fn after_shared(&self, range: &Range) -> Result<(), Errno>;

    /// The ranges that follow, in this thread, are told of together, and become `to`.
    ///
    /// # Errors
    ///
    /// Refuse the conversion.
    fn begin(&self, to: State) -> Result<(), Errno> {
        let _ = to;
        Ok(())
    }
}

/// A listener that collects ranges between [`Listener::begin()`] and [`commit()`] and sends one
/// message.  It agrees to all of them or to none: when it refuses, in whichever of its functions, it
/// has taken all of them back itself, and nothing of it is undone.
///
/// [`commit()`]: BatchListener::commit
pub trait BatchListener: Listener {
    /// These were all ranges.  Not called after another function has refused.
    ///
    /// # Errors
    ///
    /// Refuse all of them.
    fn commit(&self) -> Result<(), Errno>;
}

impl<L: Listener + ?Sized> Listener for Arc<L> {
    fn before_private(&self, range: &Range) -> Result<(), Errno> {
        (**self).before_private(range)
    }

    fn after_shared(&self, range: &Range) -> Result<(), Errno> {
        (**self).after_shared(range)
    }

    fn begin(&self, to: State) -> Result<(), Errno> {
        (**self).begin(to)
    }
}

impl<L: BatchListener + ?Sized> BatchListener for Arc<L> {
    fn commit(&self) -> Result<(), Errno> {
        (**self).commit()
    }
}

/// For [`Vm::add_listener()`].
#[derive(Clone, Copy, Debug, Default)]
pub struct ListenerOptions {
    flags: u64,
}

impl ListenerOptions {
    /// Told of conversions, bound or not.
    pub fn new() -> ListenerOptions {
        ListenerOptions::default()
    }

    fn flag(self, flag: u64, set: bool) -> ListenerOptions {
        let others = self.flags & !flag;
        ListenerOptions { flags: if set { others | flag } else { others } }
    }

    /// Tell it of all that is bound and shared, and of nothing else, as it is added and removed, and
    /// as memory is bound and unbound.  Each page is told of exactly once.
    pub fn replay(self, replay: bool) -> ListenerOptions {
        self.flag(sys::GMEM_LISTENER_REPLAY, replay)
    }

    /// It can let go of a range in which it does not hold every page.  Then
    /// [`Listener::before_private()`] is told of each part of a request once, rather than of each
    /// range that changes.
    pub fn gaps(self, gaps: bool) -> ListenerOptions {
        self.flag(sys::GMEM_LISTENER_GAPS, gaps)
    }
}

/// # Safety
///
/// `listener` was added by [`Vm::add`] with this `L`.
unsafe fn of<'a, L>(listener: *mut sys::gmem_listener) -> &'a L {
    // SAFETY: in place until it is removed, and its arg, too.
    unsafe { &*(*listener).arg.cast::<L>() }
}

unsafe extern "C" fn before_private<L: Listener>(
    listener: *mut sys::gmem_listener,
    range: *const sys::gmem_range,
) -> c_int {
    // SAFETY: the library's, during this call.
    let (listener, range) = unsafe { (of::<L>(listener), Range::of(&take_struct(range))) };
    answer(|| listener.before_private(&range))
}

unsafe extern "C" fn after_shared<L: Listener>(
    listener: *mut sys::gmem_listener,
    range: *const sys::gmem_range,
) -> c_int {
    // SAFETY: the library's, during this call.
    let (listener, range) = unsafe { (of::<L>(listener), Range::of(&take_struct(range))) };
    answer(|| listener.after_shared(&range))
}

unsafe extern "C" fn begin<L: Listener>(
    listener: *mut sys::gmem_listener,
    attributes: u64,
) -> c_int {
    // SAFETY: the library's, during this call.
    let listener = unsafe { of::<L>(listener) };
    answer(|| listener.begin(State::of(attributes)))
}

unsafe extern "C" fn commit<L: BatchListener>(listener: *mut sys::gmem_listener) -> c_int {
    // SAFETY: the library's, during this call.
    let listener = unsafe { of::<L>(listener) };
    answer(|| listener.commit())
}

impl Vm {
    /// Have `listener` told of conversions, until what is returned is dropped.  An `Arc` of a
    /// listener is one.  Waits for all requests that came before; what comes later waits for it.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and what the listener returns for what [`ListenerOptions::replay()`] tells it; then
    /// it is not added.  See `gmem_add_listener(3)`.
    pub fn add_listener<L: Listener + 'static>(
        &self,
        listener: L,
        options: &ListenerOptions,
    ) -> Result<Listening, Error> {
        self.add(listener, options, None)
    }

    /// The same for one that has a [`BatchListener::commit()`].
    ///
    /// # Errors
    ///
    /// As [`add_listener()`](Vm::add_listener).
    pub fn add_batch_listener<L: BatchListener + 'static>(
        &self,
        listener: L,
        options: &ListenerOptions,
    ) -> Result<Listening, Error> {
        self.add(listener, options, Some(commit::<L>))
    }

    fn add<L: Listener + 'static>(
        &self,
        listener: L,
        options: &ListenerOptions,
        commit: Option<unsafe extern "C" fn(*mut sys::gmem_listener) -> c_int>,
    ) -> Result<Listening, Error> {
        // It has one address, whatever is moved.
        let listener = Arc::new(listener);
        let raw = Box::new(sys::gmem_listener {
            before_private: Some(before_private::<L>),
            after_shared: Some(after_shared::<L>),
            begin: Some(begin::<L>),
            commit,
            arg: Arc::as_ptr(&listener) as *mut c_void,
            flags: options.flags,
            ..Default::default()
        });
        // A Box is never NULL.
        let raw = NonNull::from(Box::leak(raw));

        // SAFETY: it stays in place until it is removed.
        let r = unsafe { sys::gmem_add_listener(self.as_raw(), raw.as_ptr()) };
        if let Err(error) = Error::check("gmem_add_listener", r) {
            // SAFETY: from the Box above, and not the library's.
            drop(unsafe { Box::from_raw(raw.as_ptr()) });
            return Err(error);
        }
        Ok(Listening { raw: Some(raw), _listener: listener, vm: self.clone() })
    }
}

/// A listener that has been added.  Dropping it removes it, which waits for all requests that came
/// before, so never drop it in a listener.
#[must_use = "dropping it removes the listener"]
pub struct Listening {
    /// None once it has been removed.
    raw: Option<NonNull<sys::gmem_listener>>,
    _listener: Arc<dyn Any + Send + Sync>,
    vm: Vm,
}

// SAFETY: gmem.h: "All functions are safe in all threads"; and listeners are Send and Sync.
unsafe impl Send for Listening {}
// SAFETY: the same.
unsafe impl Sync for Listening {}

impl Listening {
    /// As dropping it, and say what the listener did.
    ///
    /// # Errors
    ///
    /// The first error with which the listener refused to let go; it has been removed all the same.
    /// See `gmem_remove_listener(3)`.
    pub fn remove(mut self) -> Result<(), Error> {
        self.end()
    }

    fn end(&mut self) -> Result<(), Error> {
        let raw = match self.raw.take() {
            Some(raw) => raw.as_ptr(),
            None => return Ok(()),
        };
        // SAFETY: added, and not removed.
        let r = unsafe { sys::gmem_remove_listener(self.vm.as_raw(), raw) };
        // SAFETY: from the Box of Vm::add(), and the library's no longer, whatever it returned.
        drop(unsafe { Box::from_raw(raw) });
        Error::check("gmem_remove_listener", r).map(|_| ())
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // The error is for callers of remove().
        let _ = self.end();
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Listening").field(&self.vm).finish()
    }
}
