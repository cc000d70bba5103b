// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//! A memory: created or adopted, mapped, bound, destroyed.
use std::fmt;
use std::marker::PhantomData;
use std::os::raw::{c_int, c_void};
use std::os::unix::io::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::time::Duration;

use crate::convert::milliseconds;
use crate::vm::duplicate;
use crate::{page_size, sys, Cancel, Errno, Error, Mapping, State, Vm};

/// Which memory, in a [`Range`](crate::Range).  After a memory is dropped, its value may be reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MemoryId(pub(crate) usize);

/// For [`Vm::adopt()`].
#[derive(Clone, Copy, Debug)]
pub struct AdoptOptions<'a> {
    hva: *mut c_void,
    shared_offset: u64,
    private_pages: Option<&'a [u64]>,
    state: State,
    ask_kernel: bool,
}

impl Default for AdoptOptions<'_> {
    fn default() -> Self {
        AdoptOptions {
            hva: ptr::null_mut(),
            shared_offset: 0,
            private_pages: None,
            state: State::Shared,
            ask_kernel: false,
        }
    }
}

impl<'a> AdoptOptions<'a> {
    /// All pages are shared, and the library maps the memory if it has to.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where the whole memory is mapped, shared and writable, at a multiple of the page size; or,
    /// with two backings and no shared file, the anonymous memory that is the shared half.
    ///
    /// # Safety
    ///
    /// The whole memory, of each adoption with these options, is mapped there, for reading and
    /// writing, from now until the [`Memory`] has been dropped; and longer if KVM does not delete a
    /// slot, in which case [`Vm::unbind()`] returns an error.  Nothing else in the program may rely
    /// on its contents: the guest writes to it, and the library discards pages.
    pub unsafe fn hva(self, hva: *mut c_void) -> Self {
        AdoptOptions { hva, ..self }
    }

    /// Two backings: the offset in the shared file at which the memory begins.
    pub fn shared_offset(self, shared_offset: u64) -> Self {
        AdoptOptions { shared_offset, ..self }
    }

    /// The states: bit `page % 64` of word `page / 64` is set if the page is private.
    pub fn private_pages(self, private_pages: &'a [u64]) -> Self {
        AdoptOptions { private_pages: Some(private_pages), ..self }
    }

    /// The state of all pages, unless [`private_pages()`](AdoptOptions::private_pages) has them.
    pub fn state(self, state: State) -> Self {
        AdoptOptions { state, ..self }
    }

    /// Take the states from the kernel, whatever the other options say.
    pub fn ask_kernel(self, ask_kernel: bool) -> Self {
        AdoptOptions { ask_kernel, ..self }
    }
}

/// For [`Memory::map()`].
#[derive(Clone, Copy, Debug)]
pub struct MapOptions {
    address: *mut c_void,
    flags: c_int,
}

impl Default for MapOptions {
    fn default() -> Self {
        MapOptions { address: ptr::null_mut(), flags: 0 }
    }
}

impl MapOptions {
    /// Anywhere.
    pub fn new() -> MapOptions {
        MapOptions::default()
    }

    /// As for `mmap()`: a hint, or the place if the flags say so.
    pub fn address(self, address: *mut c_void) -> MapOptions {
        MapOptions { address, ..self }
    }

    /// Flags of `mmap()` besides `MAP_SHARED` and `MAP_NORESERVE`, such as `MAP_POPULATE`.
    ///
    /// # Safety
    ///
    /// `MAP_FIXED` replaces what is mapped at the address, also at one that is set later, which
    /// nobody may use.
    pub unsafe fn flags(self, flags: c_int) -> MapOptions {
        MapOptions { flags, ..self }
    }
}

/// For [`Memory::bind()`], [`Vm::exclude()`] and [`Vm::unbind()`]; the last two take no options for
/// slots.
#[derive(Clone, Copy, Debug, Default)]
pub struct BindOptions<'a> {
    slot_flags: u32,
    timeout: Duration,
    cancel: Option<&'a Cancel>,
}

impl<'a> BindOptions<'a> {
    /// No flags, and wait as long as it takes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Flags of KVM's slot besides `KVM_MEM_GUEST_MEMFD`.  Linux 7.3 accepts none for such a slot.
    pub fn slot_flags(self, slot_flags: u32) -> Self {
        BindOptions { slot_flags, ..self }
    }

    /// How long to wait for earlier requests; [`Duration::ZERO`]: as long as it takes.
    pub fn timeout(self, timeout: Duration) -> Self {
        BindOptions { timeout, ..self }
    }

    /// What [`Vm::cancel()`] sets.
    pub fn cancel(self, cancel: &'a Cancel) -> Self {
        BindOptions { cancel: Some(cancel), ..self }
    }

    pub(crate) fn to_c(self, has_slot: bool) -> sys::gmem_bind_opts {
        sys::gmem_bind_opts {
            flags: if has_slot { 0 } else { sys::GMEM_NO_SLOT },
            slot_flags: self.slot_flags,
            timeout_ms: milliseconds(self.timeout),
            cancel: Cancel::to_c(self.cancel),
            ..Default::default()
        }
    }
}

impl Vm {
    /// Create a memory of `size` bytes that reads zeros and has no pages until somebody touches
    /// them; all of them are `state`.  Does not block.
    ///
    /// # Errors
    ///
    /// `EINVAL`: size; `EMFILE`, `ENFILE`, `ENOMEM`; `EIO`: not the process that created the VM, or
    /// the VM is dead.  See `gmem_create(3)`.
    pub fn create(&self, size: u64, state: State) -> Result<Memory, Error> {
        let opts = sys::gmem_create_opts { attributes: state.attributes(), ..Default::default() };
        let mut raw = ptr::null_mut();

        // SAFETY: the VM is there, and the options are for this call.
        let r = unsafe { sys::gmem_create(self.as_raw(), size, &opts, &mut raw) };
        self.memory("gmem_create", r, raw, None)
    }

    /// Make a memory of `size` bytes from files that the VMM has made and whose descriptors stay
    /// its own.  The library converts, keeps the states and tells listeners; it neither closes nor
    /// unmaps what is the VMM's.  The contents of the pages do not change.  From now on only the
    /// library may convert them.
    ///
    /// In place, `private` is a guest_memfd of this VM that was created with
    /// `GUEST_MEMFD_FLAG_MMAP`, and `shared` is the same, or `None`.  With two backings, `private`
    /// was created without that flag, and `shared` is the file of the shared half; or it is `None`,
    /// and the shared half is anonymous memory at [`AdoptOptions::hva()`].
    ///
    /// A VMM that makes its slots itself binds with [`Memory::bind()`] and `None`.
    ///
    /// # Errors
    ///
    /// `EINVAL`: size, alignment, a file that is too small, [`AdoptOptions::private_pages()`] too
    /// short, a different `shared` in place, or with two backings neither it nor hva; `ENOTTY`: in
    /// place, `private` is not a file that converts; `EOPNOTSUPP`: [`AdoptOptions::ask_kernel()`]
    /// with two backings, or with a kernel that cannot be asked; `EIO`: not the process that
    /// created the VM; `EMFILE`, `ENOMEM`.  See `gmem_adopt(3)`.
    ///
    /// ```no_run
    /// use gmem::{AdoptOptions, BindOptions};
    /// use std::os::unix::io::OwnedFd;
    ///
    /// # fn main() -> Result<(), gmem::Error> {
    /// # let (vm, guest_memfd, hva): (gmem::Vm, OwnedFd, *mut std::ffi::c_void) = unimplemented!();
    /// // SAFETY: the VMM unmaps it after the memory has been dropped.
    /// let options = unsafe { AdoptOptions::new().hva(hva) }.ask_kernel(true);
    /// let ram = vm.adopt(1 << 30, &guest_memfd, None, &options)?;
    /// ram.bind(None, 0, 0, 1 << 30, &BindOptions::new())?;
    /// // ... and now KVM_SET_USER_MEMORY_REGION2.
    /// # Ok(())
    /// # }
    /// ```
    pub fn adopt(
        &self,
        size: u64,
        private: impl AsFd,
        shared: Option<BorrowedFd<'_>>,
        options: &AdoptOptions<'_>,
    ) -> Result<Memory, Error> {
        let pages = size / page_size();
        // The library reads as many words as there are pages.
        if options
            .private_pages
            .map_or(false, |words| (words.len() as u64) < pages / 64 + u64::from(pages % 64 != 0))
        {
            return Err(Error::new("gmem_adopt", Errno::EINVAL));
        }
        // In place they are one file, which the library recognises by its descriptor.
        let is_same = shared.map_or(false, |fd| fd.as_raw_fd() == private.as_fd().as_raw_fd());
        let private = duplicate(private.as_fd())?;
        let shared = match shared {
            Some(fd) if !is_same => Some(duplicate(fd)?),
            _ => None,
        };
        let shared_fd = match &shared {
            Some(fd) => fd.as_raw_fd(),
            None if is_same => private.as_raw_fd(),
            None => -1,
        };
        let opts = sys::gmem_adopt_opts {
            hva: options.hva,
            shared_offset: options.shared_offset,
            private_pages: options.private_pages.map_or(ptr::null(), <[u64]>::as_ptr),
            attributes: options.state.attributes(),
            flags: if options.ask_kernel { sys::GMEM_ASK_KERNEL } else { 0 },
            ..Default::default()
        };
        let mut raw = ptr::null_mut();

        // SAFETY: the descriptors stay open until the memory is dropped, the array is large enough,
        // and hva() has promised the mapping.
        let r = unsafe {
            sys::gmem_adopt(self.as_raw(), size, private.as_raw_fd(), shared_fd, &opts, &mut raw)
        };
        self.memory("gmem_adopt", r, raw, Some((private, shared)))
    }

    fn memory(
        &self,
        call: &'static str,
        r: i32,
        raw: *mut sys::gmem,
        files: Option<(OwnedFd, Option<OwnedFd>)>,
    ) -> Result<Memory, Error> {
        Error::check(call, r)?;
        // Success is never NULL.
        let raw = NonNull::new(raw).ok_or_else(|| Error::new(call, Errno::EIO))?;
        Ok(Memory { raw, vm: self.clone(), _files: files })
    }
}

/// Pages that are private or shared.
///
/// Dropping it unbinds it everywhere, unmaps it and closes its files, as far as they are the
/// library's, and waits for earlier requests for the memory.  If KVM does not delete a slot, for
/// lack of memory or because a protected guest has run, the addresses under it stay occupied until
/// the process ends; the memory is freed. [`Vm::unbind()`] returns an error in this case.
pub struct Memory {
    raw: NonNull<sys::gmem>,
    vm: Vm,
    /// Of an adopted memory; closed after gmem_destroy().
    _files: Option<(OwnedFd, Option<OwnedFd>)>,
}

// SAFETY: gmem.h: "All functions may be called in any thread [...] Only gmem_destroy() must be the
// last to use its memory", which Drop is.
unsafe impl Send for Memory {}
// SAFETY: the same.
unsafe impl Sync for Memory {}

impl Memory {
    /// In bytes.
    pub fn size(&self) -> u64 {
        // SAFETY: the memory is there.
        unsafe { sys::gmem_size(self.as_raw()) }
    }

    /// Which memory it is, for a [`Listener`](crate::Listener) that has several.
    pub fn id(&self) -> MemoryId {
        MemoryId(self.as_raw() as usize)
    }

    /// The VM that it belongs to.
    pub fn vm(&self) -> &Vm {
        &self.vm
    }

    /// The file that has the shared pages, to map it elsewhere or hand it to a device back end.  In
    /// place it is the file of the private pages, too: a process that gets it can hold shared
    /// pages, but can neither read private ones nor convert (`libgmem(7)`).  `None`: the shared
    /// half is anonymous.
    pub fn shared_fd(&self) -> Option<BorrowedFd<'_>> {
        // SAFETY: the memory is there.
        match unsafe { sys::gmem_shared_fd(self.as_raw()) } {
            // SAFETY: open until the memory is dropped.
            fd @ 0.. => Some(unsafe { BorrowedFd::borrow_raw(fd) }),
            _ => None,
        }
    }

    /// The file that has the private pages.
    pub fn private_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the memory is there, and its file open until it is dropped.
        unsafe { BorrowedFd::borrow_raw(sys::gmem_private_fd(self.as_raw())) }
    }

    /// Map it for the host, until it is dropped.  If it is mapped already, or was adopted with its
    /// mapping, return that, whatever the options say.  This only takes a mutex, so call it again
    /// rather than keep the result.
    ///
    /// # Errors
    ///
    /// `EINVAL`: flags that do not make a shared mapping of a file; `ENOMEM`, and those of
    /// `mmap()`.  See `gmem_map(3)`.
    pub fn map(&self, options: &MapOptions) -> Result<Mapping<'_>, Error> {
        let opts = sys::gmem_map_opts {
            address: options.address,
            mmap_flags: options.flags,
            ..Default::default()
        };
        let mut hva = ptr::null_mut();

        // SAFETY: the memory is there; what MAP_FIXED replaces is nobody's, as flags() asks for.
        let r = unsafe { sys::gmem_map(self.as_raw(), &opts, &mut hva) };
        Error::check("gmem_map", r)?;
        let hva = NonNull::new(hva.cast()).ok_or_else(|| Error::new("gmem_map", Errno::EINVAL))?;
        // SAFETY: mapped for reading and writing until the memory is dropped, which borrows.
        Ok(unsafe { Mapping::new(hva, self.size() as usize, PhantomData) })
    }

    /// Place `[offset, +size)` at the guest's `[gpa, +size)`, as KVM's memslot `slot`, which has
    /// the address space in its upper 16 bits.  A page is bound at most once.  Maps the memory.
    /// Waits for earlier requests for the same range, as the options say, and for listeners.
    ///
    /// With `None` KVM's slot is the caller's (`GMEM_NO_SLOT`).  Bind before the slot is made, and
    /// unbind after it has been deleted, so that no vCPU uses memory with the wrong states (two
    /// backings) or memory that an IOMMU does not map yet.
    ///
    /// # Errors
    ///
    /// `EINVAL`: alignment, size, beyond the end, a slot number of the caller's, or slot flags that
    /// KVM does not accept; `EEXIST`: overlaps what is bound or excluded, or a slot of the
    /// caller's, or another binding of the library uses the slot number; `ETIMEDOUT`, `ECANCELED`,
    /// `ENOMEM`; the error of a listener that replays, and other errors of KVM.  On failure nothing
    /// is bound.  See `gmem_bind(3)`.
    pub fn bind(
        &self,
        slot: Option<u32>,
        gpa: u64,
        offset: u64,
        size: u64,
        options: &BindOptions<'_>,
    ) -> Result<(), Error> {
        let opts = options.to_c(slot.is_some());
        let slot = slot.unwrap_or(0);

        // SAFETY: the memory is there, and the options are for this call.
        let r = unsafe { sys::gmem_bind(self.as_raw(), slot, gpa, offset, size, &opts) };
        Error::check("gmem_bind", r).map(|_| ())
    }

    /// For calls of [`sys`].  It is valid as long as this.
    pub fn as_raw(&self) -> *mut sys::gmem {
        self.raw.as_ptr()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: nobody has it any more, and its VM and files still exist.
        unsafe { sys::gmem_destroy(self.as_raw()) }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("id", &self.id()).field("size", &self.size()).finish()
    }
}
