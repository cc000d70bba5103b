// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//! What failed, where, and what is left of it.
use std::fmt;
use std::io;

use crate::{sys, Step};

/// An errno, which is positive.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(i32);

macro_rules! errnos {
    ($($name:ident = $number:literal, $doc:literal;)*) => {
        impl Errno {
            $(#[doc = $doc] pub const $name: Errno = Errno($number);)*
        }
    };
}

// Those of x86 and arm64, which are the same.
errnos! {
    EPERM = 1, "The range is excluded, or the guest has not agreed.";
    ENOENT = 2, "It does not exist.";
    EIO = 5, "Not the process that created the VM, or the VM is dead.";
    ENXIO = 6, "Nothing is bound there.";
    E2BIG = 7, "More mappings than are allowed, or a struct that is newer than the library.";
    EBADF = 9, "Not an open descriptor.";
    EAGAIN = 11, "A page is held by somebody.";
    ENOMEM = 12, "No memory.";
    EFAULT = 14, "What `KVM_RUN` returns with a memory fault.";
    EBUSY = 16, "For a listener that refuses.";
    EEXIST = 17, "The place is taken already.";
    ENODEV = 19, "No such device.";
    EINVAL = 22, "The request can never succeed.";
    ENFILE = 23, "No more files in the system.";
    EMFILE = 24, "No more descriptors in the process.";
    ENOTTY = 25, "The file has no such call.";
    ENOSPC = 28, "No room.";
    EOPNOTSUPP = 95, "It is not available here.";
    ETIMEDOUT = 110, "Earlier requests took all of the time.";
    EALREADY = 114, "The pages have the state already.";
    ECANCELED = 125, "Cancelled by [`Vm::cancel()`](crate::Vm::cancel), or by a listener.";
    EHWPOISON = 133, "The page has a memory error.";
}

impl Errno {
    /// From a positive number; one that is not an errno becomes [`EIO`](Errno::EIO).
    pub const fn from_raw(raw: i32) -> Errno {
        match raw {
            1..=4095 => Errno(raw),
            _ => Errno::EIO,
        }
    }

    /// The positive number.
    pub const fn raw(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Errno {
    /// The message of `strerror()`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = io::Error::from_raw_os_error(self.0).to_string();
        f.write_str(text.split(" (os error").next().unwrap_or_default())
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Errno({}: {self})", self.0)
    }
}

impl std::error::Error for Errno {}

impl From<io::Error> for Errno {
    /// An error without an errno becomes [`EIO`](Errno::EIO).
    fn from(error: io::Error) -> Errno {
        Errno::from_raw(error.raw_os_error().unwrap_or(0))
    }
}

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> io::Error {
        io::Error::from_raw_os_error(errno.0)
    }
}

impl From<Error> for Errno {
    fn from(error: Error) -> Errno {
        error.errno
    }
}

/// The call of the library that failed, and its errno; for a conversion also the step, the address,
/// and what is left converted.  The manual page of [`call()`](Error::call) says what each errno
/// means there.
///
/// ```
/// use gmem::{Errno, Error};
///
/// /// Somebody holds the page; gmem-who(1) says who may.
/// fn holder(error: &Error) -> Option<u64> {
///     match error.errno() {
///         Errno::EAGAIN => error.address(),
///         _ => None,
///     }
/// }
/// ```
#[derive(Clone, Copy)]
pub struct Error {
    call: &'static str,
    errno: Errno,
    result: Option<sys::gmem_result>,
}

impl Error {
    pub(crate) fn new(call: &'static str, errno: Errno) -> Error {
        Error { call, errno, result: None }
    }

    /// Ok with what the library returned, unless that is a negative errno.
    pub(crate) fn check(call: &'static str, r: i32) -> Result<i32, Error> {
        match r {
            0.. => Ok(r),
            _ => Err(Error::new(call, Errno::from_raw(-r))),
        }
    }

    /// The same for a conversion.
    pub(crate) fn check_result(
        call: &'static str,
        r: i32,
        result: &sys::gmem_result,
    ) -> Result<i32, Error> {
        Error::check(call, r).map_err(|error| Error { result: Some(*result), ..error })
    }

    /// The function of libgmem, or the system call.
    pub fn call(&self) -> &'static str {
        self.call
    }

    /// Which error.
    pub fn errno(&self) -> Errno {
        self.errno
    }

    /// What the conversion was doing; `None` for other calls.
    pub fn step(&self) -> Option<Step> {
        Step::of(self.result?.step)
    }

    /// The lowest address that refused, as the request counts it: a gpa, or an offset.
    pub fn address(&self) -> Option<u64> {
        Some(self.result?.where_)
    }

    /// How many system calls ended with [`EAGAIN`](Errno::EAGAIN).
    pub fn attempts(&self) -> u32 {
        self.result.map_or(0, |result| result.attempts)
    }

    /// The smallest range that contains all pages that stayed converted, as the request counts it;
    /// some pages in it may have been converted back (see
    /// [`Memory::lookup()`](crate::Memory::lookup)).  `None`: all is as before, apart from
    /// [`contents_lost()`](Error::contents_lost).
    pub fn left(&self) -> Option<std::ops::Range<u64>> {
        let result = self.result?;
        (result.left_size != 0).then(|| result.left..result.left + result.left_size)
    }

    /// The first error of the undo; [`ECANCELED`](Errno::ECANCELED) if
    /// [`no_undo()`](crate::ConvertOptions::no_undo) was set.
    pub fn undo_error(&self) -> Option<Errno> {
        let error = self.result?.undo_error;
        (error != 0).then(|| Errno::from_raw(-error))
    }

    /// It was undone, but all or some of the contents are gone.
    pub fn contents_lost(&self) -> bool {
        self.result.map_or(false, |result| result.contents_lost)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, self.errno)?;
        if let (Some(step), Some(address)) = (self.step(), self.address()) {
            write!(f, " while {step} at {address:#x}")?;
        }
        if let Some(left) = self.left() {
            write!(f, "; [{:#x}, +{:#x}) stays converted", left.start, left.end - left.start)?;
        }
        if let Some(error) = self.undo_error() {
            write!(f, "; the undo: {error}")?;
        }
        if self.contents_lost() {
            f.write_str("; contents are lost")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({self})")
    }
}

impl std::error::Error for Error {}
