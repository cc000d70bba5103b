// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//! x86's guests: real mode, with their code in a page of ordinary memory.
use super::{call, map, Event, Vm, CODE_GPA, DATA_GPA, DEVICE_GPA, PAGE};
use std::io::Result;
use std::os::raw::c_ulong;
use std::os::unix::io::AsFd;
use std::ptr;

/// `KVM_X86_SW_PROTECTED_VM`
pub const VM_TYPE: u64 = 1;
/// The port at which a guest rings.
const BELL: u16 = 0x80;

const KVM_SET_REGS: c_ulong = 0x4090_ae82;
const KVM_GET_SREGS: c_ulong = 0x8138_ae83;
const KVM_SET_SREGS: c_ulong = 0x4138_ae84;
const KVM_ENABLE_CAP: c_ulong = 0x4068_aea3;

const KVM_CAP_EXIT_HYPERCALL: u32 = 201;
const KVM_HC_MAP_GPA_RANGE: u8 = 12;
const KVM_EXIT_IO: u32 = 2;
const KVM_EXIT_HLT: u32 = 5;

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
pub struct Run {
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

/// `KVM_HC_MAP_GPA_RANGE` of the data's pages from `page` on: bit 4 of `attributes` is private.
fn map_gpa_range(code: &mut Vec<u8>, page: u8, pages: u8, attributes: u8) {
    code.extend([0x66, 0xb8, KVM_HC_MAP_GPA_RANGE, 0, 0, 0]); // mov eax, ..
    code.extend([0x66, 0xbb, 0, page << 4, (DATA_GPA >> 16) as u8, 0]); // mov ebx, ..
    code.extend([0x66, 0xb9, pages, 0, 0, 0]); // mov ecx, ..
    code.extend([0x66, 0xba, attributes, 0, 0, 0]); // mov edx, ..
    code.extend([0x0f, 0x01, 0xd9]); // vmmcall
}

/// Asks for the first page to be shared, writes, rings, takes it back.
pub fn says_hi() -> Vec<u8> {
    let mut code = Vec::new();
    map_gpa_range(&mut code, 0, 1, 0);
    code.extend([0xc6, 0x06, 0, 0, b'h']); // mov byte [0], 'h'
    code.extend([0xc6, 0x06, 1, 0, b'i']); // mov byte [1], 'i'
    code.extend([0xe6, BELL as u8]); // out BELL, al
    map_gpa_range(&mut code, 0, 1, 1 << 4);
    code.push(0xf4); // hlt
    code
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

/// What the last exit was.
pub fn event(run: &Run) -> std::result::Result<Event, Box<dyn std::error::Error>> {
    match run.exit_reason {
        KVM_EXIT_HLT => Ok(Event::Halted),
        KVM_EXIT_IO if run.io_port == BELL => Ok(Event::Rang),
        reason => Err(format!("the guest ended with exit reason {reason}").into()),
    }
}

impl Vm {
    /// Let the vCPU start with `code`.
    pub fn start(&self, _memories: &gmem::Vm, code: &[u8]) -> Result<()> {
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

    /// The byte with which the guest rang.
    pub fn rang_with(&self) -> u8 {
        // SAFETY: mapped, of the exit before, and the vCPU does not run.
        unsafe { *self.run.cast::<u8>().add((*self.run).io_data_offset as usize) }
    }
}
