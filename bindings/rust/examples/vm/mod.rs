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
/// Where a guest with a device looks for the registers.
pub const DEVICE_GPA: u64 = 0x40000;
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
    es: Segment,
    rest: [u64; 30],
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
    io_count: u32,
    io_data_offset: u64,
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

/// `KVM_HC_MAP_GPA_RANGE` of the data's pages from `page` on: bit 4 of `attributes` is private.
fn map_gpa_range(code: &mut Vec<u8>, page: u8, pages: u8, attributes: u8) {
    code.extend([0x66, 0xb8, KVM_HC_MAP_GPA_RANGE, 0, 0, 0]); // mov eax, ..
    code.extend([0x66, 0xbb, 0, page << 4, (DATA_GPA >> 16) as u8, 0]); // mov ebx, ..
    code.extend([0x66, 0xb9, pages, 0, 0, 0]); // mov ecx, ..
    code.extend([0x66, 0xba, attributes, 0, 0, 0]); // mov edx, ..
    code.extend([0x0f, 0x01, 0xd9]); // vmmcall
}

/// The registers of QEMU's edu, from es: source 0x80, destination 0x88, count 0x90, command 0x98.
/// It has memory of its own at 0x40000, to which half a page goes, and from there to another page.
fn copy_by_device(code: &mut Vec<u8>, from: u8, to: u8) {
    let mut set = |reg: u8, b1: u8, b2: u8, b0: u8| {
        code.extend([0x26, 0x66, 0xc7, 0x06, reg, 0, b0, b1, b2, 0]); // mov dword es:[reg], ..
        if reg == 0x98 {
            code.extend([0x26, 0x66, 0xa1, 0x98, 0]); // again: mov eax, es:[0x98]
            code.extend([0xa8, 1, 0x75, 0xf7]); //         test al, 1; jnz again
        }
    };
    let data = (DATA_GPA >> 16) as u8;
    for (source, destination, command) in [
        ((from << 4, data), (0, 4), 1), // to the device
        ((0, 4), (to << 4, data), 3),   // from it
    ] {
        set(0x80, source.0, source.1, 0);
        set(0x88, destination.0, destination.1, 0);
        set(0x90, 8, 0, 0);
        set(0x98, 0, 0, command);
    }
}

/// Shares pages 1 and 2, writes "DMA" to the first, has the device copy it to the other, rings;
/// takes page 2 back, writes 's' there, has it copied again, rings with what is there then.
pub fn has_a_device() -> Vec<u8> {
    let mut code = Vec::new();
    map_gpa_range(&mut code, 1, 2, 0);
    for (at, c) in b"DMA".iter().enumerate() {
        code.extend([0xc6, 0x06, at as u8, 1 << 4, *c]); // mov byte [0x1000 + at], c
    }
    copy_by_device(&mut code, 1, 2);
    code.extend([0xe6, BELL as u8]); // out BELL, al
    map_gpa_range(&mut code, 2, 1, 1 << 4);
    code.extend([0xc6, 0x06, 0, 2 << 4, b's']); // mov byte [0x2000], 's'
    copy_by_device(&mut code, 1, 2);
    code.extend([0xa0, 0, 2 << 4]); // mov al, [0x2000]
    code.extend([0xe6, BELL as u8, 0xf4]); // out BELL, al; hlt
    code
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

    /// Let the vCPU start with `code`.
    pub fn start(&self, code: &[u8]) -> Result<()> {
        let page = map(None, PAGE as usize)?;
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
            self.add_ordinary_slot(0, CODE_GPA, page, PAGE)?;
            call(self.fd.as_fd(), KVM_ENABLE_CAP, &mut cap)?;

            let mut sregs: Sregs = std::mem::zeroed();
            call(self.vcpu.as_fd(), KVM_GET_SREGS, &mut sregs)?;
            sregs.cs.base = CODE_GPA;
            sregs.cs.selector = (CODE_GPA >> 4) as u16;
            sregs.ds.base = DATA_GPA;
            sregs.ds.selector = (DATA_GPA >> 4) as u16;
            sregs.es.base = DEVICE_GPA;
            sregs.es.selector = (DEVICE_GPA >> 4) as u16;
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

impl Vm {
    /// The byte with which the guest rang.
    pub fn rang_with(&self) -> u8 {
        // SAFETY: mapped, of the exit before, and the vCPU does not run.
        unsafe { *self.run.cast::<u8>().add((*self.run).io_data_offset as usize) }
    }
}

impl AsFd for Vm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
