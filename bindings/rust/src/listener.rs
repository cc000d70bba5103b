// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//! Listeners: the Rust traits, and the functions that the library calls for them.
use std::any::Any;
use std::fmt;
use std::os::raw::{c_int, c_void};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::process::abort;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::names::take_struct;
use crate::{sys, Errno, Error, Range, State, Vm};

/// What C gets from a Rust function, which must not unwind into C.
pub(crate) fn answer(function: impl FnOnce() -> Result<(), Errno>) -> c_int {
    // It is unknown what a listener holds that has panicked, so no answer would be right.  The
    // message of the panic has been printed.
    match catch_unwind(AssertUnwindSafe(function)) {
        Ok(Ok(())) => 0,
        Ok(Err(errno)) => -errno.raw(),
        Err(_) => abort(),
    }
}

/// Anything that holds what the guest shares: a back end in another process, a device.  For an
/// IOMMU the library has one: [`Vm::add_iommu()`].
///
/// A page that is held cannot become private, so let go of a range *before* it does, and take hold
/// *after* it has become shared and its contents are settled.  All functions are called in the
/// converting thread, for ranges that change, in ascending order; if a conversion fails, the
/// opposite function undoes it.  They may block and may look up states, which are the old ones; the
/// rules of the crate say what they must not do.  A panic ends the process.
///
/// Concurrent conversions call a listener concurrently, which is why it is `Sync`.
///
/// A listener that refuses a shared range must hold none of it, and one that refuses to let go must
/// still hold all of it.
///
/// ```
/// use gmem::{Errno, Listener, Range};
/// use std::collections::BTreeSet;
/// use std::sync::Mutex;
///
/// /// Which pages a back end has mapped, by offset.  A range may be a part of an earlier one, or
/// /// cover several.
/// #[derive(Default)]
/// struct BackEnd {
///     mapped: Mutex<BTreeSet<u64>>,
/// }
///
/// fn pages(range: &Range) -> impl Iterator<Item = u64> {
///     (range.offset..range.offset + range.size).step_by(gmem::page_size() as usize)
/// }
///
/// impl Listener for BackEnd {
///     fn before_private(&self, range: &Range) -> Result<(), Errno> {
///         let mut mapped = self.mapped.lock().map_err(|_| Errno::EBUSY)?;
///         for page in pages(range) {
///             mapped.remove(&page);
///         }
///         Ok(())
///     }
///
///     fn after_shared(&self, range: &Range) -> Result<(), Errno> {
///         self.mapped.lock().map_err(|_| Errno::EBUSY)?.extend(pages(range));
///         Ok(())
///     }
/// }
/// ```
pub trait Listener: Send + Sync {
    /// `range` is about to become private: let go of it.
    ///
    /// # Errors
    ///
    /// Refuse the conversion.
    fn before_private(&self, range: &Range) -> Result<(), Errno>;

    /// `range` has become shared: it may be held.
    ///
    /// # Errors
    ///
    /// Refuse: then everything goes back to private, as far as possible.
    fn after_shared(&self, range: &Range) -> Result<(), Errno>;

    /// The ranges that follow, in this thread, belong together and become `to`.
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
/// message.  It agrees to all of them or to none: if any of its functions refuses, it has taken
/// back all of them itself, and nothing is undone for it.
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

    /// Tell it of everything that is bound and shared, and of nothing else, also when it is added
    /// or removed, and when memory is bound or unbound.  It is told of each page exactly once.
    pub fn replay(self, replay: bool) -> ListenerOptions {
        self.flag(sys::GMEM_LISTENER_REPLAY, replay)
    }

    /// It can let go of a range in which it does not hold every page.  Then
    /// [`Listener::before_private()`] is called once for each part of a request, rather than for
    /// each range that changes.
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
    /// Tell `listener` of conversions, until the returned value is dropped.  An `Arc` of a listener
    /// is a listener, too.  Waits for all earlier requests, and later ones wait for it.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and the error that the listener returns for what [`ListenerOptions::replay()`]
    /// tells it; then it is not added.  See `gmem_add_listener(3)`.
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
    /// Those of [`add_listener()`](Vm::add_listener).
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
        // Its address stays the same, whatever is moved.
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

/// A listener that has been added.  Dropping it removes it, which waits for all earlier requests,
/// so never drop it in a listener.
#[must_use = "dropping it removes the listener"]
pub struct Listening {
    /// None once it has been removed.
    raw: Option<NonNull<sys::gmem_listener>>,
    _listener: Arc<dyn Any + Send + Sync>,
    vm: Vm,
}

// SAFETY: gmem.h: "All functions may be called in any thread"; and listeners are Send and Sync.
unsafe impl Send for Listening {}
// SAFETY: the same.
unsafe impl Sync for Listening {}

impl Listening {
    /// Like dropping it, but return the listener's error.
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
