// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//! The library's numbers, and their names in messages.
use std::ffi::CStr;
use std::fmt;
use std::mem::size_of;
use std::os::raw::c_char;
use std::ptr::copy_nonoverlapping;

use crate::sys;

/// Copy a struct of the library's, which may have fewer members or more; absent ones are 0.
///
/// # Safety
///
/// `from` is such a struct, begins with its size, and each of its members is of the type it has in
/// `T`.
pub(crate) unsafe fn take_struct<T: Default>(from: *const T) -> T {
    let mut to = T::default();
    // SAFETY: both have that many bytes, and what is copied are members of T.
    unsafe {
        let size = *from.cast::<usize>();
        let to: *mut T = &mut to;
        copy_nonoverlapping(from.cast::<u8>(), to.cast(), size.min(size_of::<T>()));
    }
    to
}

/// # Safety
///
/// `name` is one of the library's strings.
pub(crate) unsafe fn text(name: *const c_char) -> &'static str {
    // SAFETY: never NULL, and constant.
    unsafe { CStr::from_ptr(name) }.to_str().unwrap_or("unknown")
}

/// The version of the running library, which may be newer than the one this was built with.
pub fn version() -> &'static str {
    // SAFETY: a name of the library's.
    unsafe { text(sys::gmem_version()) }
}

/// Whether the guest alone may use a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// The guest and the host.
    Shared,
    /// The guest alone.
    Private,
}

impl State {
    pub(crate) fn attributes(self) -> u64 {
        match self {
            State::Shared => sys::GMEM_SHARED,
            State::Private => sys::GMEM_PRIVATE,
        }
    }

    pub(crate) fn of(attributes: u64) -> State {
        match attributes & sys::GMEM_PRIVATE {
            0 => State::Shared,
            _ => State::Private,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Shared => "shared",
            State::Private => "private",
        })
    }
}

/// C's numbers and their names.
macro_rules! numbers {
    ($name:ident, $text:ident: $($member:ident = $number:ident,)*) => {
        impl $name {
            // Not used for each.
            #[allow(dead_code)]
            pub(crate) fn of(number: u32) -> Option<$name> {
                match number {
                    $(sys::$number => Some($name::$member),)*
                    _ => None,
                }
            }

            pub(crate) fn number(self) -> u32 {
                match self {
                    $($name::$member => sys::$number,)*
                }
            }
        }

        impl fmt::Display for $name {
            /// As the library calls it.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // SAFETY: a name of the library's.
                f.write_str(unsafe { text(sys::$text(self.number())) })
            }
        }
    };
}

/// How the kernel converts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mechanism {
    /// `KVM_SET_MEMORY_ATTRIBUTES`, a file for the private half, another for the shared.
    TwoBackings,
    /// `KVM_SET_MEMORY_ATTRIBUTES2` on the file, without content policies.
    InPlacePlain,
    /// `KVM_SET_MEMORY_ATTRIBUTES2` with content policies.
    InPlace,
}

numbers! { Mechanism, gmem_mechanism_name:
    TwoBackings = GMEM_TWO_BACKINGS,
    InPlacePlain = GMEM_IN_PLACE_PLAIN,
    InPlace = GMEM_IN_PLACE,
}

/// What is read after a conversion; `KVM_SET_MEMORY_ATTRIBUTES2(2)` has the promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Policy {
    /// Zeros.
    Zero,
    /// What was there.
    Preserve,
    /// Nothing is promised.
    None,
    /// For requests only: what guests of the VM's type expect.  In a protected VM of arm64 it is
    /// `Preserve` both ways; otherwise `Zero` to shared and `None` to private.
    Default,
}

numbers! { Policy, gmem_policy_name:
    Zero = GMEM_ZERO,
    Preserve = GMEM_PRESERVE,
    None = GMEM_NONE,
    Default = GMEM_DEFAULT,
}

/// The step at which a conversion failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// The request itself, before anything was done.
    Check,
    /// A listener refused.
    BeforePrivate,
    /// Two backings: emptying the other half.
    Prepare,
    /// The kernel refused.
    Convert,
    /// Without policies: zeroing, before the kernel converts.
    Zero,
    /// A listener refused.
    AfterShared,
    /// Waiting for earlier requests.
    Turn,
}

numbers! { Step, gmem_step_name:
    Check = GMEM_STEP_CHECK,
    BeforePrivate = GMEM_STEP_BEFORE_PRIVATE,
    Prepare = GMEM_STEP_PREPARE,
    Convert = GMEM_STEP_CONVERT,
    Zero = GMEM_STEP_ZERO,
    AfterShared = GMEM_STEP_AFTER_SHARED,
    Turn = GMEM_STEP_TURN,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_that_a_struct_lacks_are_zero() {
        let gpa = 7;
        let whole =
            sys::gmem_range { offset: 5, size: 6, gpa, attributes: 8, ..Default::default() };
        let short = sys::gmem_range { struct_size: 32, ..whole };
        // SAFETY: both have their size, or more.
        let (whole, short) = unsafe { (take_struct(&whole), take_struct(&short)) };
        assert_eq!((whole.offset, whole.size, whole.gpa, whole.attributes), (5, 6, gpa, 8));
        assert_eq!((short.offset, short.size, short.gpa, short.attributes), (5, 6, 0, 0));
    }
}
