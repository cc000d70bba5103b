// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//! A VM as the library knows it, and what it can do.
use std::fmt;
use std::os::raw::{c_int, c_long};
use std::os::unix::io::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use crate::names::take_struct;
use crate::{sys, BindOptions, Errno, Error, Mechanism, Policy};

/// A descriptor of our own for the same file.
pub(crate) fn duplicate(fd: BorrowedFd<'_>) -> Result<OwnedFd, Error> {
    fd.try_clone_to_owned().map_err(|error| Error::new("fcntl", Errno::from(error)))
}

/// The page size, of which all addresses, offsets and sizes are multiples.
pub fn page_size() -> u64 {
    const SC_PAGESIZE: c_int = 30;
    extern "C" {
        fn sysconf(name: c_int) -> c_long;
    }

    // SAFETY: it asks for a number.
    unsafe { sysconf(SC_PAGESIZE) as u64 }
}

/// What a VM can do; see [`probe()`].
#[derive(Clone, Copy)]
pub struct Probe(sys::gmem_probe);

impl Probe {
    /// What [`Vm::new()`] will use; `None`: there is no private memory, or it cannot be converted.
    pub fn mechanism(&self) -> Option<Mechanism> {
        Mechanism::of(self.0.mechanism)
    }

    /// Is this mechanism available?
    pub fn has(&self, mechanism: Mechanism) -> bool {
        self.0.mechanisms & (1 << mechanism.number()) != 0
    }

    /// Does [`mechanism()`](Probe::mechanism) offer this policy to shared?
    pub fn to_shared(&self, policy: Policy) -> bool {
        self.0.to_shared & (1 << policy.number()) != 0
    }

    /// Does [`mechanism()`](Probe::mechanism) offer this policy to private?
    pub fn to_private(&self, policy: Policy) -> bool {
        self.0.to_private & (1 << policy.number()) != 0
    }

    /// Whether a range of gpas over several slots is one system call, all or nothing, unless it has
    /// gaps, or slots in place that are not the library's.  The same is true of any range of
    /// offsets in place; with two backings that takes a call for each binding.
    pub fn is_atomic(&self) -> bool {
        self.0.is_atomic
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Find out what the VM `vm` can do, by trying it on a scratch file of one page; the VM is not
/// changed.  `vm_type` is the type that `KVM_CREATE_VM` was given, `mechanism` the one to describe,
/// or `None` for the best one.
///
/// # Errors
///
/// `EOPNOTSUPP`: the mechanism is not available.  `EBADF`, `ENOTTY`: not a VM.  `EMFILE`, `ENFILE`,
/// `ENOMEM`: no scratch file.  `EIO`: not the process that created the VM; and any other error that
/// kept the kernel from answering.  See `gmem_probe(3)`.
pub fn probe(vm: impl AsFd, vm_type: u64, mechanism: Option<Mechanism>) -> Result<Probe, Error> {
    let mut probe = sys::gmem_probe::default();
    let mechanism = mechanism.map_or(sys::GMEM_MECHANISM_NONE, Mechanism::number);

    // SAFETY: the descriptor is open, and the struct has its size.
    let r = unsafe { sys::gmem_probe(vm.as_fd().as_raw_fd(), vm_type, mechanism, &mut probe) };
    Error::check("gmem_probe", r)?;
    Ok(Probe(probe))
}

/// For [`Vm::new()`].
#[derive(Clone, Copy, Debug, Default)]
pub struct VmOptions {
    vm_type: u64,
    mechanism: Option<Mechanism>,
}

impl VmOptions {
    /// Type 0, and the best mechanism.
    pub fn new() -> VmOptions {
        VmOptions::default()
    }

    /// As given to `KVM_CREATE_VM`.  What a lesser kernel does to contents depends on it, and the
    /// kernel cannot be asked.
    pub fn vm_type(self, vm_type: u64) -> VmOptions {
        VmOptions { vm_type, ..self }
    }

    /// Use this mechanism, even if there is a better one.
    pub fn mechanism(self, mechanism: Mechanism) -> VmOptions {
        VmOptions { mechanism: Some(mechanism), ..self }
    }
}

struct Inner {
    raw: NonNull<sys::gmem_vm>,
    fd: OwnedFd,
}

// SAFETY: gmem.h: "All functions may be called in any thread [...] Only [...] gmem_vm_exit()" must
// be the last to use its VM, which Drop is.
unsafe impl Send for Inner {}
// SAFETY: the same.
unsafe impl Sync for Inner {}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: memories, IOMMUs and listeners have a clone of the Vm, so they are gone; and the
        // descriptor is still open.
        unsafe { sys::gmem_vm_exit(self.raw.as_ptr()) }
    }
}

/// A VM as the library knows it: its slots, memories and listeners.  A clone is the same VM; each
/// thread may have one.  Memories, listeners and IOMMUs have one as well, so the VM ends with the
/// last of them.
#[derive(Clone)]
pub struct Vm(Arc<Inner>);

impl Vm {
    /// Set up the VM of `KVM_CREATE_VM` whose descriptor is `vm`.  Does not block.
    ///
    /// A type that has a descriptor but no [`AsFd`], like kvm-ioctls' `VmFd`, is lent with
    /// [`BorrowedFd::borrow_raw()`].
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP`: no mechanism, or not the requested one; `ENOMEM`, and the errors of
    /// [`probe()`].  See `gmem_vm_init(3)`.
    pub fn new(vm: impl AsFd, options: &VmOptions) -> Result<Vm, Error> {
        let fd = duplicate(vm.as_fd())?;
        let opts = sys::gmem_vm_opts {
            vm_type: options.vm_type,
            mechanism: options.mechanism.map_or(sys::GMEM_MECHANISM_NONE, Mechanism::number),
            ..Default::default()
        };
        let mut raw = ptr::null_mut();

        // SAFETY: the descriptor stays open until after gmem_vm_exit().
        let r = unsafe { sys::gmem_vm_init(fd.as_raw_fd(), &opts, &mut raw) };
        Error::check("gmem_vm_init", r)?;
        // Success is never NULL.
        let raw = NonNull::new(raw).ok_or_else(|| Error::new("gmem_vm_init", Errno::EIO))?;
        Ok(Vm(Arc::new(Inner { raw, fd })))
    }

    /// What [`probe()`] found.
    pub fn probe(&self) -> Probe {
        // SAFETY: valid until gmem_vm_exit(), with its size.
        Probe(unsafe { take_struct(sys::gmem_vm_probe(self.as_raw())) })
    }

    /// Mark `[gpa, +size)` as existing but not convertible: device memory, ROM, a slot of ordinary
    /// memory.  It counts as shared.  No slot is made; that is up to the caller.  Waits for earlier
    /// requests for the same range, as [`BindOptions`] say.
    ///
    /// # Errors
    ///
    /// `EINVAL`: alignment, size, or options for slots; `EEXIST`: overlaps what the library has
    /// bound or excluded; `ETIMEDOUT`, `ECANCELED`, `ENOMEM`.  See `gmem_bind(3)`.
    pub fn exclude(&self, gpa: u64, size: u64, options: &BindOptions<'_>) -> Result<(), Error> {
        // SAFETY: the VM is there, the options are for this call.
        let r = unsafe { sys::gmem_exclude(self.as_raw(), gpa, size, &options.to_c(true)) };
        Error::check("gmem_exclude", r).map(|_| ())
    }

    /// Undo the [`Memory::bind()`](crate::Memory::bind) or [`exclude()`](Vm::exclude) whose range
    /// begins at `gpa`.  Pages keep their state and contents.  Waits like these, and for listeners.
    ///
    /// # Errors
    ///
    /// `ENXIO`: nothing begins there; `EINVAL`: options for slots; `ETIMEDOUT`, `ECANCELED`; the
    /// error of a listener that replays; the errors of KVM, such as `EPERM` once a protected guest
    /// has run.  On failure the range is bound as before.  See `gmem_bind(3)`.
    pub fn unbind(&self, gpa: u64, options: &BindOptions<'_>) -> Result<(), Error> {
        // SAFETY: the VM is there, the options are for this call.
        let r = unsafe { sys::gmem_unbind(self.as_raw(), gpa, &options.to_c(true)) };
        Error::check("gmem_unbind", r).map(|_| ())
    }

    /// For calls of [`sys`].  It is valid as long as this.
    pub fn as_raw(&self) -> *mut sys::gmem_vm {
        self.0.raw.as_ptr()
    }
}

impl AsFd for Vm {
    /// The duplicate that the library uses.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}

impl fmt::Debug for Vm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Vm").field(&self.0.fd.as_raw_fd()).finish()
    }
}
