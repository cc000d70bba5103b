// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//! A memory as the host sees it.  There are no references into it, as it changes and vanishes.
use std::fmt;
use std::marker::PhantomData;
use std::mem::{align_of, size_of};
use std::ptr::NonNull;

use crate::{Errno, Error, Memory};

/// Types for which all bits are valid, so that nothing that a guest writes makes a value invalid.
///
/// # Safety
///
/// Every pattern of bits is a value of the type, and it has no padding.
pub unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($integer:ty)*) => { $(
        // SAFETY: integers have no padding, and each pattern of bits is one.
        unsafe impl Plain for $integer {}
    )* };
}

plain! { u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize }

// SAFETY: as its elements, without anything between.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

/// The whole memory, mapped for the host until the memory is dropped.
///
/// It is not a slice, since the guest, devices and other threads write to it at any time.  Each
/// access is volatile, and orders nothing: between a ring's index and its descriptors the caller
/// needs a fence.
///
/// **In place, touching a private page is `SIGBUS`**, which ends the process unless it has a
/// handler; and a guest can make a page private at any time, between two accesses and in the middle
/// of one.  So touch what the guest may take back only between
/// [`after_shared()`](crate::Listener::after_shared) and
/// [`before_private()`](crate::Listener::before_private) of a listener, which holds up the
/// conversion until the access is done; or have a handler.  A system call that is given the address
/// fails with `EFAULT` instead, so `pread()` and `pwrite()` of a device raise no signals.  With two
/// backings nothing is raised, and a private page does not read as the guest reads it.  See
/// `libgmem(7)`.
///
/// ```no_run
/// # fn main() -> Result<(), gmem::Error> {
/// # let ram: gmem::Memory = unimplemented!();
/// let hva = ram.map(&Default::default())?;
/// let index: u16 = hva.read(0x1002)?;
/// hva.write(0x2002, index.wrapping_add(1))?;
///
/// let mut packet = [0; 64];
/// hva.read_bytes(0x4000, &mut packet)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy)]
pub struct Mapping<'a> {
    hva: NonNull<u8>,
    size: usize,
    memory: PhantomData<&'a Memory>,
}

// SAFETY: a mapping belongs to the process, and accesses are volatile: in any thread, they read
// what others write meanwhile, or do not.
unsafe impl Send for Mapping<'_> {}
// SAFETY: the same.
unsafe impl Sync for Mapping<'_> {}

impl<'a> Mapping<'a> {
    /// # Safety
    ///
    /// `[hva, +size)` is mapped for reading and writing, as long as `memory` is.
    pub(crate) unsafe fn new(
        hva: NonNull<u8>,
        size: usize,
        memory: PhantomData<&'a Memory>,
    ) -> Mapping<'a> {
        Mapping { hva, size, memory }
    }

    /// Where it begins, for a system call, a slot or another crate.  The rules above apply to what
    /// is done there.
    pub fn as_ptr(&self) -> *mut u8 {
        self.hva.as_ptr()
    }

    /// In bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Where `[offset, +size)` is; `EINVAL` if it is not aligned, or not all in the mapping.
    fn at(&self, offset: u64, size: usize, align: usize) -> Result<*mut u8, Error> {
        let offset = offset as usize;
        if offset > self.size || self.size - offset < size || offset % align != 0 {
            return Err(Error::new("gmem::Mapping", Errno::EINVAL));
        }
        // SAFETY: inside the mapping, or at its end.
        Ok(unsafe { self.hva.as_ptr().add(offset) })
    }

    /// Read a value, in one access if the machine has one of that size.
    ///
    /// # Errors
    ///
    /// `EINVAL`: beyond the end, or not aligned for a `T`.
    pub fn read<T: Plain>(&self, offset: u64) -> Result<T, Error> {
        let from = self.at(offset, size_of::<T>(), align_of::<T>())?;
        // SAFETY: mapped and aligned; all bits are a T.
        Ok(unsafe { from.cast::<T>().read_volatile() })
    }

    /// Write a value, in one access if the machine has one of that size.
    ///
    /// # Errors
    ///
    /// `EINVAL`: beyond the end, or not aligned for a `T`.
    pub fn write<T: Plain>(&self, offset: u64, value: T) -> Result<(), Error> {
        let to = self.at(offset, size_of::<T>(), align_of::<T>())?;
        // SAFETY: mapped and aligned.
        unsafe { to.cast::<T>().write_volatile(value) };
        Ok(())
    }

    /// Fill `bytes` from `offset` on, from the lowest address to the highest.
    ///
    /// # Errors
    ///
    /// `EINVAL`: beyond the end; then nothing is read.
    pub fn read_bytes(&self, offset: u64, bytes: &mut [u8]) -> Result<(), Error> {
        let from = self.at(offset, bytes.len(), 1)?;
        let (head, words) = split(from, bytes.len());
        let (bytes, rest) = bytes.split_at_mut(head);
        let (body, tail) = rest.split_at_mut(words);

        let mut at = from;
        for byte in bytes {
            // SAFETY: in what at() has checked, as are the next two.
            unsafe { *byte = take(&mut at) };
        }
        for word in body.chunks_exact_mut(WORD) {
            // SAFETY: after the head it is aligned.
            word.copy_from_slice(&unsafe { take::<u64>(&mut at) }.to_ne_bytes());
        }
        for byte in tail {
            // SAFETY: as above.
            unsafe { *byte = take(&mut at) };
        }
        Ok(())
    }

    /// Write `bytes` from `offset` on, from the lowest address to the highest.
    ///
    /// # Errors
    ///
    /// `EINVAL`: beyond the end; then nothing is written.
    pub fn write_bytes(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let to = self.at(offset, bytes.len(), 1)?;
        let (head, words) = split(to, bytes.len());
        let (bytes, rest) = bytes.split_at(head);
        let (body, tail) = rest.split_at(words);

        let mut at = to;
        for byte in bytes {
            // SAFETY: in what at() has checked, as are the next two.
            unsafe { put(&mut at, *byte) };
        }
        for word in body.chunks_exact(WORD) {
            let mut value = [0; WORD];
            value.copy_from_slice(word);
            // SAFETY: after the head it is aligned.
            unsafe { put(&mut at, u64::from_ne_bytes(value)) };
        }
        for byte in tail {
            // SAFETY: as above.
            unsafe { put(&mut at, *byte) };
        }
        Ok(())
    }
}

const WORD: usize = size_of::<u64>();

/// How many of `size` bytes from `at` on come before the first aligned word, and how many of those
/// after that are in whole words.
fn split(at: *mut u8, size: usize) -> (usize, usize) {
    let head = (at as usize).wrapping_neg() % WORD;
    let head = head.min(size);
    (head, (size - head) / WORD * WORD)
}

/// # Safety
///
/// A `T` is mapped at `*at`, which is aligned for it; `*at` is moved to its end.
unsafe fn take<T: Plain>(at: &mut *mut u8) -> T {
    // SAFETY: as said.
    unsafe {
        let value = at.cast::<T>().read_volatile();
        *at = at.add(size_of::<T>());
        value
    }
}

/// # Safety
///
/// The same, for writing.
unsafe fn put<T: Plain>(at: &mut *mut u8, value: T) {
    // SAFETY: as said.
    unsafe {
        at.cast::<T>().write_volatile(value);
        *at = at.add(size_of::<T>());
    }
}

impl fmt::Debug for Mapping<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mapping[{:p}, +{:#x})", self.hva, self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(memory: &mut [u64]) -> Mapping<'_> {
        let size = memory.len() * WORD;
        let hva = NonNull::new(memory.as_mut_ptr().cast()).unwrap();
        // SAFETY: borrowed as long.
        unsafe { Mapping::new(hva, size, PhantomData) }
    }

    #[test]
    fn every_run_of_bytes_is_read_and_written_alone() {
        let mut memory = [0u64; 4];
        for offset in 0..=32 {
            for size in 0..=32 - offset {
                let bytes: Vec<u8> = (1..=size as u8).collect();
                let mut back = vec![0; size];
                let all = mapping(&mut memory);
                all.write_bytes(0, &[0xee; 32]).unwrap();
                all.write_bytes(offset as u64, &bytes).unwrap();
                all.read_bytes(offset as u64, &mut back).unwrap();
                assert_eq!(back, bytes);
                let whole: [u8; 32] = all.read(0).unwrap();
                let outside = whole[..offset].iter().chain(&whole[offset + size..]);
                assert!(outside.into_iter().all(|&byte| byte == 0xee));
            }
        }
    }

    fn errno<T>(result: Result<T, Error>) -> Result<T, Errno> {
        result.map_err(Errno::from)
    }

    #[test]
    fn what_is_beyond_the_end_or_not_aligned_is_refused() {
        let mut memory = [0u64; 4];
        let all = mapping(&mut memory);
        assert_eq!(all.size(), 32);
        assert_eq!(errno(all.read::<u64>(24)), Ok(0));
        assert_eq!(errno(all.read::<u64>(25)), Err(Errno::EINVAL));
        assert_eq!(errno(all.read::<u64>(32)), Err(Errno::EINVAL));
        assert_eq!(errno(all.read::<u16>(31)), Err(Errno::EINVAL));
        assert_eq!(errno(all.read::<[u8; 3]>(29)), Ok([0; 3]));
        assert_eq!(errno(all.write(4, 1u64)), Err(Errno::EINVAL));
        assert_eq!(errno(all.write(u64::MAX, 1u8)), Err(Errno::EINVAL));
        assert_eq!(errno(all.write_bytes(31, &[1, 2])), Err(Errno::EINVAL));
        assert_eq!(errno(all.read_bytes(33, &mut [])), Err(Errno::EINVAL));
        assert_eq!(errno(all.read_bytes(32, &mut [])), Ok(()));
        assert_eq!(memory, [0; 4]);
    }
}
