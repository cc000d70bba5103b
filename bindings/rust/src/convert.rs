// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//! Conversions, how long they wait, and how to make them stop.
use std::fmt;
use std::os::raw::{c_int, c_uint, c_void};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::listener::answer;
use crate::{sys, Errno, Error, Memory, Policy, State, Vm};

/// Rounded up, as 0 means something else; more than 49 days count as 49 days.
pub(crate) fn milliseconds(duration: Duration) -> u32 {
    let rounded = (duration.as_nanos() + 999_999) / 1_000_000;
    u32::try_from(rounded).unwrap_or(u32::MAX)
}

/// A word by which calls of a [`Vm`] stop waiting, see [`Vm::cancel()`].  Many calls may share one.
#[derive(Debug, Default)]
pub struct Cancel(AtomicU32);

impl Cancel {
    /// Not set.
    pub const fn new() -> Cancel {
        Cancel(AtomicU32::new(0))
    }

    /// Let calls wait again.
    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Set it without waking anybody, which is allowed in a signal handler.  A sleeping call
    /// notices that at its next attempt, after at most 50 milliseconds, if it waits for a holder,
    /// and when another request ends, if it waits for that.
    pub fn set(&self) {
        self.0.store(1, Ordering::Relaxed);
    }

    /// Are calls to stop?
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// The library reads it atomically.
    pub(crate) fn to_c(this: Option<&Cancel>) -> *const u32 {
        this.map_or(ptr::null(), |cancel| cancel.word())
    }

    fn word(&self) -> *mut u32 {
        &self.0 as *const AtomicU32 as *mut u32
    }
}

type Busy<'a> = dyn Fn(u64, u32) -> Result<(), Errno> + Sync + 'a;

/// How to convert, and for how long to try.
///
/// ```
/// use gmem::{ConvertOptions, Errno, Policy};
/// use std::time::Duration;
///
/// let ask_back_end = |address: u64, attempts: u32| match attempts {
///     0..=9 => Ok(()),
///     _ => Err(Errno::EAGAIN),
/// };
/// let options = ConvertOptions::new()
///     .to_private(Policy::Preserve)
///     .timeout(Duration::from_secs(2))
///     .busy(&ask_back_end);
/// ```
#[derive(Clone, Copy)]
pub struct ConvertOptions<'a> {
    to_shared: Policy,
    to_private: Policy,
    flags: u32,
    timeout: Duration,
    busy: Option<&'a Busy<'a>>,
    cancel: Option<&'a Cancel>,
}

impl Default for ConvertOptions<'_> {
    fn default() -> Self {
        ConvertOptions {
            to_shared: Policy::Default,
            to_private: Policy::Default,
            flags: 0,
            timeout: Duration::ZERO,
            busy: None,
            cancel: None,
        }
    }
}

impl<'a> ConvertOptions<'a> {
    /// [`Policy::Default`] both ways, which every mechanism offers; a page that is held is not tried
    /// again.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is read after a conversion to shared.
    pub fn to_shared(self, to_shared: Policy) -> Self {
        ConvertOptions { to_shared, ..self }
    }

    /// What is read after a conversion to private.
    pub fn to_private(self, to_private: Policy) -> Self {
        ConvertOptions { to_private, ..self }
    }

    fn flag(self, flag: u32, set: bool) -> Self {
        let others = self.flags & !flag;
        ConvertOptions { flags: if set { others | flag } else { others }, ..self }
    }

    /// On failure, leave what has been converted so far, rather than convert it back.
    pub fn no_undo(self, no_undo: bool) -> Self {
        self.flag(sys::GMEM_NO_UNDO, no_undo)
    }

    /// With two backings, keep the pages of the other half: quicker, with up to twice the memory.
    pub fn no_discard(self, no_discard: bool) -> Self {
        self.flag(sys::GMEM_NO_DISCARD, no_discard)
    }

    /// How long the call waits in total, from its beginning: first for earlier requests for the
    /// same range, then for a page that somebody holds, which is tried again. [`Duration::ZERO`]:
    /// the page is not tried again, and the call waits for earlier requests as long as they take.
    /// Not included is what cannot be interrupted: a listener, [`busy()`](ConvertOptions::busy),
    /// and the last system call, up to a second.
    pub fn timeout(self, timeout: Duration) -> Self {
        ConvertOptions { timeout, ..self }
    }

    /// Called before each new attempt, in the converting thread, with the address of the page that
    /// is held, as the request counts it, and the number of failed attempts.  It is meant to make
    /// the holder let go; if it returns an error, so does the call.  The rules of the crate say
    /// what it must not do; a panic ends the process.
    pub fn busy<F>(self, busy: &'a F) -> Self
    where
        F: Fn(u64, u32) -> Result<(), Errno> + Sync,
    {
        ConvertOptions { busy: Some(busy), ..self }
    }

    /// What [`Vm::cancel()`] sets.
    pub fn cancel(self, cancel: &'a Cancel) -> Self {
        ConvertOptions { cancel: Some(cancel), ..self }
    }

    /// It points into `self`.
    pub(crate) fn as_c(&self) -> sys::gmem_convert_opts {
        let arg = self.busy.as_ref().map(|busy| busy as *const &Busy<'a> as *mut c_void);
        sys::gmem_convert_opts {
            to_shared: self.to_shared.number(),
            to_private: self.to_private.number(),
            flags: self.flags,
            timeout_ms: milliseconds(self.timeout),
            busy: arg.map(|_| call_busy as _),
            arg: arg.unwrap_or(ptr::null_mut()),
            cancel: Cancel::to_c(self.cancel),
            ..Default::default()
        }
    }
}

impl fmt::Debug for ConvertOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_c().fmt(f)
    }
}

unsafe extern "C" fn call_busy(arg: *mut c_void, address: u64, attempts: c_uint) -> c_int {
    // SAFETY: as_c() has put it there, for the duration of this call.
    let busy = unsafe { &*arg.cast::<&Busy<'_>>() };
    answer(|| busy(address, attempts))
}

/// A conversion that worked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Converted {
    /// System calls that ended with `EAGAIN` before.
    pub attempts: u32,
    /// Two backings: bytes whose other half could not be given back.
    pub undiscarded: u64,
}

impl Vm {
    /// Make all of `[gpa, +size)` private or shared, over as many slots and memories as it covers.
    /// Pages that have the state already keep their contents.  Addresses that are not bound, or are
    /// excluded, count as shared: to shared, the memory in the range is converted, which may be
    /// none, as firmware asks for MMIO to be shared; to private, such a range is refused.
    ///
    /// Blocks while mappings are removed, for listeners, and for earlier requests for the same
    /// range; [`ConvertOptions::timeout()`] limits the waiting.  Either all of it is converted or
    /// nothing; the [`Error`] says what could not be undone.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: alignment, size 0, or overflow
    /// - `ENXIO`: to private, nothing is bound at [`Error::address()`]
    /// - `EPERM`: to private, it is excluded ([`Step::Check`](crate::Step)); to shared, the guest
    ///   has not agreed ([`Step::Convert`](crate::Step)), in a protected VM of arm64
    /// - `EOPNOTSUPP`: the policy is not available in this direction, see [`Probe`](crate::Probe)
    /// - `EAGAIN`: the page at [`Error::address()`] is held by somebody; `gmem-who(1)` says who may
    ///   hold it.  With two backings a page that is held does not refuse
    /// - `ETIMEDOUT`: earlier requests took all of the time
    /// - `ECANCELED`: cancelled by [`Vm::cancel()`] while the call waited
    /// - `EHWPOISON`: the page has a memory error
    /// - `ENOMEM`: the kernel could not track the new state
    /// - `EIO`: the caller is not the process that created the VM
    ///
    /// and the errors of a listener or of [`ConvertOptions::busy()`].  See `gmem_convert(3)`.
    pub fn convert(
        &self,
        gpa: u64,
        size: u64,
        to: State,
        options: &ConvertOptions<'_>,
    ) -> Result<Converted, Error> {
        let opts = options.as_c();
        let mut result = sys::gmem_result::default();

        // SAFETY: the VM is there; options and result are for this call.
        let r = unsafe {
            sys::gmem_convert_gpa(self.as_raw(), gpa, size, to.attributes(), &opts, &mut result)
        };
        converted("gmem_convert_gpa", r, &result)
    }

    /// Set `cancel`, and make the calls of this VM that were given it return `ECANCELED` instead of
    /// waiting: now, and until [`Cancel::reset()`].  So it does not matter whether a call has
    /// begun.  One that need not wait is carried out; what a cancelled one has done is undone.
    ///
    /// To stop vCPUs, use one for each: as with `kvm_run.immediate_exit`, set it, kick the thread
    /// out of `KVM_RUN`, and reset it when the vCPU continues.  May be called in any thread, also
    /// in a listener; in a signal handler use [`Cancel::set()`].  See `gmem_cancel(3)`.
    pub fn cancel(&self, cancel: &Cancel) {
        // SAFETY: the VM is there, and the library writes the word atomically.
        unsafe { sys::gmem_cancel(self.as_raw(), cancel.word()) }
    }
}

impl Memory {
    /// The same as [`Vm::convert()`] for `[offset, +size)` of this memory, bound or not.
    ///
    /// # Errors
    ///
    /// The same, but never `ENXIO`, and `EPERM` only if the guest has not agreed; `EINVAL` also
    /// beyond the end.  See `gmem_convert(3)`.
    pub fn convert(
        &self,
        offset: u64,
        size: u64,
        to: State,
        options: &ConvertOptions<'_>,
    ) -> Result<Converted, Error> {
        let opts = options.as_c();
        let mut result = sys::gmem_result::default();

        // SAFETY: the memory is there; options and result are for this call.
        let r = unsafe {
            sys::gmem_convert(self.as_raw(), offset, size, to.attributes(), &opts, &mut result)
        };
        converted("gmem_convert", r, &result)
    }
}

fn converted(call: &'static str, r: i32, result: &sys::gmem_result) -> Result<Converted, Error> {
    Error::check_result(call, r, result)?;
    Ok(Converted { attempts: result.attempts, undiscarded: result.undiscarded })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_become_milliseconds_and_never_zero() {
        assert_eq!(milliseconds(Duration::ZERO), 0);
        assert_eq!(milliseconds(Duration::from_nanos(1)), 1);
        assert_eq!(milliseconds(Duration::from_millis(2)), 2);
        assert_eq!(milliseconds(Duration::from_micros(2001)), 3);
        assert_eq!(milliseconds(Duration::MAX), u32::MAX);
    }
}
