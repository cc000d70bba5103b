// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//! Devices behind an IOMMU.
use std::fmt;
use std::os::unix::io::{AsFd, AsRawFd, OwnedFd};
use std::ptr::{self, NonNull};

use crate::vm::duplicate;
use crate::{sys, Errno, Error, Vm};

/// An IOMMU that maps everything that is bound and shared, until it is dropped; see
/// [`Vm::add_iommu()`].
#[must_use = "dropping it removes the IOMMU"]
pub struct Iommu {
    /// None once it has been removed.
    raw: Option<NonNull<sys::gmem_iommu>>,
    fd: OwnedFd,
    /// Outlives it.
    _vm: Vm,
}

// SAFETY: gmem.h: "All functions may be called in any thread".
unsafe impl Send for Iommu {}
// SAFETY: the same.
unsafe impl Sync for Iommu {}

impl Vm {
    /// Make an IOMMU map everything that is bound and shared, for reading and writing, at the
    /// guest's addresses, until the returned value is dropped: it follows conversions, binding and
    /// unbinding.  It never maps what is private, or not in a memory of this VM, and nobody else
    /// may map or unmap in the range of the bindings.
    ///
    /// `fd` is an iommufd with the IOAS `ioas_id`, or a VFIO container that has a group and a type1
    /// IOMMU, with 0.  Attach the devices first.  An iommufd is best.  Waits like
    /// [`add_listener()`](Vm::add_listener).
    ///
    /// # Errors
    ///
    /// `EINVAL`, `ENOTTY`: neither of these, or the IOMMU does not have an address at which shared
    /// memory is bound; `ENODEV`, `ENOENT`: no such IOAS; `EEXIST`: something is mapped there;
    /// `ENOSPC`: more shared pages than type1 has mappings; `ENOMEM`: also the limit of locked
    /// memory; other errors of the kernel for a mapping.  On failure nothing is mapped.  See
    /// `gmem_add_iommu(3)`.
    pub fn add_iommu(&self, fd: impl AsFd, ioas_id: u32) -> Result<Iommu, Error> {
        let fd = duplicate(fd.as_fd())?;
        let opts = sys::gmem_iommu_opts { fd: fd.as_raw_fd(), ioas_id, ..Default::default() };
        let mut raw = ptr::null_mut();

        // SAFETY: the descriptor stays open until it is removed, and the VM as long.
        let r = unsafe { sys::gmem_add_iommu(self.as_raw(), &opts, &mut raw) };
        Error::check("gmem_add_iommu", r)?;
        // Success is never NULL.
        let raw = NonNull::new(raw).ok_or_else(|| Error::new("gmem_add_iommu", Errno::EIO))?;
        Ok(Iommu { raw: Some(raw), fd, _vm: self.clone() })
    }
}

impl Iommu {
    /// Like dropping it, but report whether everything was unmapped.  Call this before the last
    /// group leaves a container, which then loses its IOMMU: conversions would fail with `EINVAL`
    /// until this is called.
    ///
    /// # Errors
    ///
    /// The first error with which the kernel refused to unmap.  See `gmem_remove_iommu(3)`.
    pub fn remove(mut self) -> Result<(), Error> {
        self.end()
    }

    fn end(&mut self) -> Result<(), Error> {
        let raw = self.raw.take().map_or(ptr::null_mut(), NonNull::as_ptr);
        // SAFETY: added, and not removed; it is gone in any case.  NULL is ignored.
        let r = unsafe { sys::gmem_remove_iommu(raw) };
        Error::check("gmem_remove_iommu", r).map(|_| ())
    }
}

impl Drop for Iommu {
    fn drop(&mut self) {
        // The error is for callers of remove().
        let _ = self.end();
    }
}

impl fmt::Debug for Iommu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Iommu").field(&self.fd.as_raw_fd()).finish()
    }
}
