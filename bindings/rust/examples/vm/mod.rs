// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//! What the examples need from KVM that is not about memory: a VM with one vCPU, which expects data
//! at `DATA_GPA`.  A VMM has crates for this; here it is by hand, so that the examples need only the
//! standard library.  The architecture's part is in `x86.rs` and `arm64.rs`: `VM_TYPE`,
//! `Vm::start()`, and what the guests do.
#![warn(unsafe_op_in_unsafe_fn)]
// Each example uses some of it.
#![allow(dead_code)]

#[cfg(target_arch = "aarch64")]
mod arm64;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "aarch64")]
pub use arm64::*;
#[cfg(target_arch = "x86_64")]
pub use x86::*;

use gmem::{ConvertOptions, Errno, Exit};
use std::fs::{File, OpenOptions};
use std::io::{Error, Result};
use std::os::raw::{c_int, c_ulong, c_void};
use std::os::unix::io::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

pub const PAGE: u64 = 4096;
pub const DATA_GPA: u64 = 0x10000;
/// Where a guest with a device looks for the registers.
pub const DEVICE_GPA: u64 = 0x40000;
const CODE_GPA: u64 = 0x1000;

const KVM_CREATE_VM: c_ulong = 0xae01;
const KVM_GET_VCPU_MMAP_SIZE: c_ulong = 0xae04;
const KVM_CREATE_VCPU: c_ulong = 0xae41;
const KVM_RUN: c_ulong = 0xae80;
const KVM_SET_USER_MEMORY_REGION: c_ulong = 0x4020_ae46;
const KVM_SET_USER_MEMORY_REGION2: c_ulong = 0x40a0_ae49;
const KVM_CREATE_GUEST_MEMFD: c_ulong = 0xc040_aed4;

const KVM_MEM_GUEST_MEMFD: u32 = 1 << 2;
const GUEST_MEMFD_FLAG_MMAP: u64 = 1;

#[repr(C)]
struct Region {
    slot: u32,
    flags: u32,
    gpa: u64,
    size: u64,
    hva: u64,
}

#[repr(C)]
struct Region2 {
    region: Region,
    guest_memfd_offset: u64,
    guest_memfd: u32,
    pad: [u32; 29],
}

#[repr(C)]
struct CreateGuestMemfd {
    size: u64,
    flags: u64,
    reserved: [u64; 6],
}

extern "C" {
    fn ioctl(fd: c_int, request: c_ulong, ...) -> c_int;
    fn mmap(
        at: *mut c_void,
        size: usize,
        prot: c_int,
        flags: c_int,
        fd: c_int,
        offset: i64,
    ) -> *mut c_void;
}

/// # Safety
///
/// `argument` is what the call takes.
pub unsafe fn call<T>(fd: BorrowedFd<'_>, request: c_ulong, argument: *mut T) -> Result<c_int> {
    // SAFETY: as said.
    match unsafe { ioctl(fd.as_raw_fd(), request, argument) } {
        -1 => Err(Error::last_os_error()),
        answer => Ok(answer),
    }
}

/// A call that takes a number, and no pointer.
pub fn call_with(fd: BorrowedFd<'_>, request: c_ulong, number: u64) -> Result<c_int> {
    // SAFETY: no pointer.
    unsafe { call(fd, request, number as usize as *mut c_void) }
}

/// Of a call that has just made it.
pub fn new_fd(fd: c_int) -> OwnedFd {
    // SAFETY: a call that worked has just made it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Shared, readable and writable, until the process ends.
pub fn map(fd: Option<BorrowedFd<'_>>, size: usize) -> Result<*mut c_void> {
    map_from(fd, 0, size)
}

/// The same of what is at `offset`.
pub fn map_from(fd: Option<BorrowedFd<'_>>, offset: u64, size: usize) -> Result<*mut c_void> {
    const READ_WRITE: c_int = 1 | 2;
    const SHARED: c_int = 1;
    const ANONYMOUS: c_int = 0x20;
    let flags = if fd.is_some() { SHARED } else { SHARED | ANONYMOUS };
    let fd = fd.map_or(-1, |fd| fd.as_raw_fd());

    // SAFETY: somewhere new.
    let hva = unsafe { mmap(ptr::null_mut(), size, READ_WRITE, flags, fd, offset as i64) };
    match hva as isize {
        -1 => Err(Error::last_os_error()),
        _ => Ok(hva),
    }
}

/// What the guest has done that is not about memory.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    Rang,
    Halted,
}

pub struct Vm {
    fd: OwnedFd,
    vcpu: OwnedFd,
    run: *mut Run,
    _kvm: File,
}

impl Vm {
    /// A VM and its vCPU.
    pub fn create() -> Result<Vm> {
        let kvm = OpenOptions::new().read(true).write(true).open("/dev/kvm")?;
        let fd = new_fd(call_with(kvm.as_fd(), KVM_CREATE_VM, VM_TYPE)?);
        let vcpu = new_fd(call_with(fd.as_fd(), KVM_CREATE_VCPU, 0)?);
        let size = call_with(kvm.as_fd(), KVM_GET_VCPU_MMAP_SIZE, 0)?;
        let run = map(Some(vcpu.as_fd()), size as usize)?.cast();
        Ok(Vm { fd, vcpu, run, _kvm: kvm })
    }

    /// A file of private memory; in place it has the shared half as well, and can be mapped.
    pub fn create_guest_memfd(&self, size: u64, in_place: bool) -> Result<OwnedFd> {
        let flags = if in_place { GUEST_MEMFD_FLAG_MMAP } else { 0 };
        let mut create = CreateGuestMemfd { size, flags, reserved: [0; 6] };
        // SAFETY: the struct is that of the call.
        Ok(new_fd(unsafe { call(self.fd.as_fd(), KVM_CREATE_GUEST_MEMFD, &mut create)? }))
    }

    /// Slot 1 at `DATA_GPA`; a size of 0 deletes it.
    ///
    /// # Safety
    ///
    /// `size` bytes from `hva` on are mapped as long as the slot is there, and the guest's.
    pub unsafe fn set_slot(&self, hva: *mut c_void, size: u64, file: BorrowedFd<'_>) -> Result<()> {
        let mut region = Region2 {
            region: Region {
                slot: 1,
                flags: KVM_MEM_GUEST_MEMFD,
                gpa: DATA_GPA,
                size,
                hva: hva as u64,
            },
            guest_memfd_offset: 0,
            guest_memfd: file.as_raw_fd() as u32,
            pad: [0; 29],
        };
        // SAFETY: the struct is that of the call, and the memory as the caller says.
        unsafe { call(self.fd.as_fd(), KVM_SET_USER_MEMORY_REGION2, &mut region) }.map(drop)
    }

    /// Ordinary memory, or a device's registers, as a slot of the VMM's.
    ///
    /// # Safety
    ///
    /// `size` bytes from `hva` on are mapped until the process ends, and the guest's.
    pub unsafe fn add_ordinary_slot(
        &self,
        slot: u32,
        gpa: u64,
        hva: *mut c_void,
        size: u64,
    ) -> Result<()> {
        let mut region = Region { slot, flags: 0, gpa, size, hva: hva as u64 };
        // SAFETY: the struct is that of the call, and the memory as the caller says.
        unsafe { call(self.fd.as_fd(), KVM_SET_USER_MEMORY_REGION, &mut region) }.map(drop)
    }

    /// Run the guest until it rings or halts, and do what it asks for with `options`.
    pub fn run(
        &self,
        memories: &gmem::Vm,
        options: &ConvertOptions<'_>,
    ) -> std::result::Result<Event, Box<dyn std::error::Error>> {
        const EINTR: i32 = 4;
        loop {
            let run_error = match call_with(self.vcpu.as_fd(), KVM_RUN, 0) {
                Err(error) if error.raw_os_error() == Some(EINTR) => continue,
                result => result.map(drop).map_err(Errno::from),
            };
            // SAFETY: of this vCPU, which only this thread runs.
            match unsafe { memories.handle_exit(self.run.cast(), run_error, options) }? {
                Exit::Done => continue,
                // There is no other vCPU that could have come first.
                Exit::Already => return Err("the memory cannot be had".into()),
                Exit::Other => run_error?,
            }
            // SAFETY: mapped, and the vCPU does not run.
            return event(unsafe { &*self.run });
        }
    }
}

impl AsFd for Vm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
