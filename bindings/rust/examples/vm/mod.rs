// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//! What the examples need from KVM that is not about memory: a VM with one vCPU, in real mode,
//! whose code is in a page of ordinary memory and which expects data at `DATA_GPA`.  A VMM has
//! crates for this; here it is by hand, so that the examples need only the standard library.
#![warn(unsafe_op_in_unsafe_fn)]
// Each example uses some of it.
#![allow(dead_code)]

use gmem::{ConvertOptions, Errno, Exit};
use std::fs::{File, OpenOptions};
use std::io::{Error, Result};
use std::os::raw::{c_int, c_ulong, c_void};
use std::os::unix::io::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

pub const PAGE: u64 = 4096;
pub const DATA_GPA: u64 = 0x10000;
/// `KVM_X86_SW_PROTECTED_VM`
pub const VM_TYPE: u64 = 1;
const CODE_GPA: u64 = 0x1000;
/// The port at which a guest rings.
const BELL: u16 = 0x80;

const KVM_CREATE_VM: c_ulong = 0xae01;
const KVM_GET_VCPU_MMAP_SIZE: c_ulong = 0xae04;
const KVM_CREATE_VCPU: c_ulong = 0xae41;
const KVM_RUN: c_ulong = 0xae80;
const KVM_SET_USER_MEMORY_REGION: c_ulong = 0x4020_ae46;
const KVM_SET_USER_MEMORY_REGION2: c_ulong = 0x40a0_ae49;
const KVM_CREATE_GUEST_MEMFD: c_ulong = 0xc040_aed4;
const KVM_SET_REGS: c_ulong = 0x4090_ae82;
const KVM_GET_SREGS: c_ulong = 0x8138_ae83;
const KVM_SET_SREGS: c_ulong = 0x4138_ae84;
const KVM_ENABLE_CAP: c_ulong = 0x4068_aea3;

const KVM_MEM_GUEST_MEMFD: u32 = 1 << 2;
const GUEST_MEMFD_FLAG_MMAP: u64 = 1;
const KVM_CAP_EXIT_HYPERCALL: u32 = 201;
const KVM_HC_MAP_GPA_RANGE: u8 = 12;
const KVM_EXIT_IO: u32 = 2;
const KVM_EXIT_HLT: u32 = 5;

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

#[repr(C)]
struct Cap {
    cap: u32,
    flags: u32,
    args: [u64; 4],
    pad: [u8; 64],
}

#[repr(C)]
struct Regs {
    general: [u64; 16],
    rip: u64,
    rflags: u64,
}

#[repr(C)]
struct Segment {
    base: u64,
    limit: u32,
    selector: u16,
    rest: [u8; 10],
}

#[repr(C)]
struct Sregs {
    cs: Segment,
    ds: Segment,
    rest: [u64; 33],
}

/// The beginning of `struct kvm_run`.
#[repr(C)]
struct Run {
    before: [u32; 2],
    exit_reason: u32,
    flags: u32,
    more: [u64; 2],
    io_direction: u8,
    io_size: u8,
    io_port: u16,
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
unsafe fn call<T>(fd: BorrowedFd<'_>, request: c_ulong, argument: *mut T) -> Result<c_int> {
    // SAFETY: as said.
    match unsafe { ioctl(fd.as_raw_fd(), request, argument) } {
        -1 => Err(Error::last_os_error()),
        answer => Ok(answer),
    }
}

/// A call that takes a number, and no pointer.
fn call_with(fd: BorrowedFd<'_>, request: c_ulong, number: u64) -> Result<c_int> {
    // SAFETY: no pointer.
    unsafe { call(fd, request, number as usize as *mut c_void) }
}

fn new_fd(fd: c_int) -> OwnedFd {
    // SAFETY: a call that worked has just made it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Shared, readable and writable, until the process ends.
pub fn map(fd: Option<BorrowedFd<'_>>, size: usize) -> Result<*mut c_void> {
    const READ_WRITE: c_int = 1 | 2;
    const SHARED: c_int = 1;
    const ANONYMOUS: c_int = 0x20;
    let flags = if fd.is_some() { SHARED } else { SHARED | ANONYMOUS };
    let fd = fd.map_or(-1, |fd| fd.as_raw_fd());

    // SAFETY: somewhere new.
    let hva = unsafe { mmap(ptr::null_mut(), size, READ_WRITE, flags, fd, 0) };
    match hva as isize {
        -1 => Err(Error::last_os_error()),
        _ => Ok(hva),
    }
}

/// A string at `DATA_GPA` to upper case.
pub const TO_UPPER_CASE: &[u8] = &[
    0xbe, 0, 0, //    mov si, 0
    0x8a, 0x04, // next: mov al, [si]
    0x84, 0xc0, //    test al, al
    0x74, 0x07, //    jz done
    0x24, 0xdf, //    and al, ~0x20
    0x88, 0x04, //    mov [si], al
    0x46, //          inc si
    0xeb, 0xf3, //    jmp next
    0xf4, // done: hlt
];

/// Asks for the first page to be shared, writes, rings, takes it back.
pub const SAYS_HI: &[u8] = &[
    // eax = KVM_HC_MAP_GPA_RANGE, ebx = gpa, ecx = pages, edx = attributes; vmmcall
    0x66,
    0xb8,
    KVM_HC_MAP_GPA_RANGE,
    0,
    0,
    0,
    0x66,
    0xbb,
    0,
    0,
    1,
    0,
    0x66,
    0xb9,
    1,
    0,
    0,
    0,
    0x66,
    0xba,
    0,
    0,
    0,
    0,
    0x0f,
    0x01,
    0xd9, //
    0xc6,
    0x06,
    0,
    0,
    b'h', // mov byte [0], 'h'
    0xc6,
    0x06,
    1,
    0,
    b'i', // mov byte [1], 'i'
    0xe6,
    BELL as u8, //       out BELL, al
    0x66,
    0xb8,
    KVM_HC_MAP_GPA_RANGE,
    0,
    0,
    0,
    0x66,
    0xbb,
    0,
    0,
    1,
    0,
    0x66,
    0xb9,
    1,
    0,
    0,
    0,
    0x66,
    0xba,
    1 << 4,
    0,
    0,
    0,
    0x0f,
    0x01,
    0xd9, //
    0xf4, // hlt
];

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

    /// Let the vCPU start with `code`.
    pub fn start(&self, code: &[u8]) -> Result<()> {
        let page = map(None, PAGE as usize)?;
        let mut region = Region { slot: 0, flags: 0, gpa: CODE_GPA, size: PAGE, hva: page as u64 };
        let mut cap = Cap {
            cap: KVM_CAP_EXIT_HYPERCALL,
            flags: 0,
            args: [1 << KVM_HC_MAP_GPA_RANGE, 0, 0, 0],
            pad: [0; 64],
        };
        let mut regs = Regs { general: [0; 16], rip: 0, rflags: 2 };

        // SAFETY: new, and larger than any guest; the structs are those of the calls, and of
        // numbers only.
        unsafe {
            ptr::copy_nonoverlapping(code.as_ptr(), page.cast(), code.len());
            call(self.fd.as_fd(), KVM_SET_USER_MEMORY_REGION, &mut region)?;
            call(self.fd.as_fd(), KVM_ENABLE_CAP, &mut cap)?;

            let mut sregs: Sregs = std::mem::zeroed();
            call(self.vcpu.as_fd(), KVM_GET_SREGS, &mut sregs)?;
            sregs.cs.base = CODE_GPA;
            sregs.cs.selector = (CODE_GPA >> 4) as u16;
            sregs.ds.base = DATA_GPA;
            sregs.ds.selector = (DATA_GPA >> 4) as u16;
            call(self.vcpu.as_fd(), KVM_SET_SREGS, &mut sregs)?;
            call(self.vcpu.as_fd(), KVM_SET_REGS, &mut regs)?;
        }
        Ok(())
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
            let (reason, port) = unsafe { ((*self.run).exit_reason, (*self.run).io_port) };
            return match reason {
                KVM_EXIT_HLT => Ok(Event::Halted),
                KVM_EXIT_IO if port == BELL => Ok(Event::Rang),
                _ => Err(format!("the guest ended with exit reason {reason}").into()),
            };
        }
    }
}

impl AsFd for Vm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
