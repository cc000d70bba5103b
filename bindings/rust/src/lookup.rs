// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//! Which pages are private, according to the library and to the kernel.
use crate::{sys, Error, Memory, MemoryId, State, Vm};

/// A part of a memory, all of it in one state, and bound in one piece or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Range {
    /// The memory.
    pub memory: MemoryId,
    /// The offset in the memory.
    pub offset: u64,
    /// In bytes.
    pub size: u64,
    /// Where it is in the guest; `None` if it is not bound.
    pub gpa: Option<u64>,
    /// For a listener: the old state.
    pub state: State,
}

impl Range {
    pub(crate) fn of(range: &sys::gmem_range) -> Range {
        Range {
            memory: MemoryId(range.gmem as usize),
            offset: range.offset,
            size: range.size,
            gpa: (range.gpa != sys::GMEM_NO_GPA).then_some(range.gpa),
            state: State::of(range.attributes),
        }
    }
}

/// All ranges of a memory, from the lowest offset on.  Pages that are converted meanwhile may be
/// seen in either state.
#[derive(Clone, Debug)]
pub struct Ranges<'a> {
    memory: &'a Memory,
    offset: u64,
}

impl Iterator for Ranges<'_> {
    type Item = Range;

    fn next(&mut self) -> Option<Range> {
        let range = self.memory.lookup(self.offset).ok()?;
        self.offset = range.offset + range.size;
        Some(range)
    }
}

impl Vm {
    /// The longest range from `gpa` on that has one state.  Does not wait for conversions.
    ///
    /// # Errors
    ///
    /// `EINVAL`: alignment; `ENXIO`: nothing is bound there; `EPERM`: it is excluded.  See
    /// `gmem_lookup(3)`.
    pub fn lookup(&self, gpa: u64) -> Result<Range, Error> {
        let mut range = sys::gmem_range::default();

        // SAFETY: the VM is there, and the struct has its size.
        let r = unsafe { sys::gmem_lookup_gpa(self.as_raw(), gpa, &mut range) };
        Error::check("gmem_lookup_gpa", r)?;
        Ok(Range::of(&range))
    }
}

impl Memory {
    /// The longest range from `offset` on that has one state, and is bound in one piece or not at
    /// all.  Does not wait for conversions.
    ///
    /// # Errors
    ///
    /// `EINVAL`: alignment, or beyond the end.  See `gmem_lookup(3)`.
    pub fn lookup(&self, offset: u64) -> Result<Range, Error> {
        let mut range = sys::gmem_range::default();

        // SAFETY: the memory is there, and the struct has its size.
        let r = unsafe { sys::gmem_lookup(self.as_raw(), offset, &mut range) };
        Error::check("gmem_lookup", r)?;
        Ok(Range::of(&range))
    }

    /// The whole memory, range by range.
    ///
    /// ```no_run
    /// # let ram: gmem::Memory = unimplemented!();
    /// let private: u64 = ram
    ///     .ranges()
    ///     .filter(|range| range.state == gmem::State::Private)
    ///     .map(|range| range.size)
    ///     .sum();
    /// ```
    pub fn ranges(&self) -> Ranges<'_> {
        Ranges { memory: self, offset: 0 }
    }

    /// Compare the library's states with the kernel's.  `None`: they are the same.  Otherwise
    /// somebody has converted without the library, and this is the range at the lowest offset that
    /// differs, with the kernel's state.  Waits for earlier conversions of the memory, and later
    /// ones wait for it.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP`: two backings, or a kernel that does not say which pages are private; `EIO`:
    /// the kernel's answer makes no sense.  See `gmem_verify(3)`.
    pub fn verify(&self) -> Result<Option<Range>, Error> {
        let mut range = sys::gmem_range::default();

        // SAFETY: the memory is there, and the struct has its size.
        let r = unsafe { sys::gmem_verify(self.as_raw(), &mut range) };
        let differs = Error::check("gmem_verify", r)? != 0;
        Ok(differs.then(|| Range::of(&range)))
    }

    /// Replace the library's states by the kernel's.  Listeners are told of what differs as if it
    /// were converted now; for what has become private it is too late to let go.  If one refuses,
    /// the call continues and returns its error.  Waits, and is waited for, like
    /// [`verify()`](Memory::verify).
    ///
    /// # Errors
    ///
    /// Those of [`verify()`](Memory::verify), and those of listeners.  See `gmem_rebuild(3)`.
    pub fn rebuild(&self) -> Result<(), Error> {
        // SAFETY: the memory is there.
        let r = unsafe { sys::gmem_rebuild(self.as_raw()) };
        Error::check("gmem_rebuild", r).map(|_| ())
    }
}
