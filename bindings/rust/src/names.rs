// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//! What the library counts, and what it calls that in messages.
use std::ffi::CStr;
use std::fmt;
use std::os::raw::c_char;

use crate::sys;

/// # Safety
///
/// `name` is one of the library's strings.
pub(crate) unsafe fn text(name: *const c_char) -> &'static str {
    // SAFETY: never NULL, and constant.
    unsafe { CStr::from_ptr(name) }.to_str().unwrap_or("unknown")
}

/// The version of the library that runs, which may be newer than the one this was built with.
pub fn version() -> &'static str {
    // SAFETY: a name of the library's.
    unsafe { text(sys::gmem_version()) }
}

/// Who may use a page.
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

/// Numbers of C and their names.
macro_rules! numbers {
    ($name:ident, $text:ident: $($member:ident = $number:ident,)*) => {
        impl $name {
            // Not of each is it asked.
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
    /// `KVM_SET_MEMORY_ATTRIBUTES`, a file for the private half, one for the shared.
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
}

numbers! { Policy, gmem_policy_name:
    Zero = GMEM_ZERO,
    Preserve = GMEM_PRESERVE,
    None = GMEM_NONE,
}

/// Where a conversion was when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// The request itself, before anything was done.
    Check,
    /// A listener refused.
    BeforePrivate,
    /// Two backings: making the other half empty.
    Prepare,
    /// The kernel refused.
    Convert,
    /// Without policies: zeroing, before the kernel converts.
    Zero,
    /// A listener refused.
    AfterShared,
    /// Waiting for requests that came before.
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
