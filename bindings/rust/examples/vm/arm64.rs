// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//! arm64's guest, of a protected VM: its code has to be private, and is in memory of the library's.
use super::{call, Event, Vm, CODE_GPA, PAGE};
use gmem::{ConvertOptions, State};
use std::os::raw::c_ulong;
use std::os::unix::io::AsFd;

/// `KVM_VM_TYPE_ARM_PROTECTED`
pub const VM_TYPE: u64 = 1 << 31;
/// Where a guest rings, and what it writes to when it is through.
const BELL: u64 = 0x0900_0000;
const HALT: u64 = 0x0900_1000;
const CODE_SLOT: u32 = 0;

const KVM_SET_ONE_REG: c_ulong = 0x4010_aeac;
const KVM_ARM_VCPU_INIT: c_ulong = 0x4020_aeae;
const KVM_ARM_PREFERRED_TARGET: c_ulong = 0x8020_aeaf;

const KVM_ARM_VCPU_PSCI_0_2: u32 = 2;
const KVM_REG_PC: u64 = 0x6030_0000_0010_0040;
const KVM_EXIT_MMIO: u32 = 6;

#[repr(C)]
struct VcpuInit {
    target: u32,
    features: [u32; 7],
}

#[repr(C)]
struct OneReg {
    id: u64,
    address: u64,
}

/// The beginning of `struct kvm_run`.
#[repr(C)]
pub struct Run {
    before: [u32; 2],
    exit_reason: u32,
    flags: u32,
    more: [u64; 2],
    mmio_gpa: u64,
    mmio_data: [u8; 8],
    mmio_len: u32,
    mmio_is_write: u8,
}

/// Asks for the first page to be shared, writes, rings, takes it back.  A hypercall is executed
/// again by itself until the VMM has converted.  The host's bytes are in the caches, and this guest
/// has none.
const SAYS_HI: [u32; 25] = [
    0xd2a1_2009, // mov x9, #0x09000000
    0xd2a0_002a, // mov x10, #0x10000
    0xd280_0060, // mov x0, #3: MEM_SHARE is 0xc6000003
    0xf2b8_c000, // movk x0, #0xc600, lsl #16
    0xaa0a_03e1, // mov x1, x10
    0xaa1f_03e2, // mov x2, xzr
    0xaa1f_03e3, // mov x3, xzr
    0xd400_0002, // hvc #0
    0xd50b_7e2a, // dc civac, x10
    0xd503_3f9f, // dsb sy
    0x5280_0d05, // mov w5, #'h'
    0x3900_0145, // strb w5, [x10]
    0x5280_0d25, // mov w5, #'i'
    0x3900_0545, // strb w5, [x10, #1]
    0xd50b_7e2a, // dc civac, x10
    0xd503_3f9f, // dsb sy
    0xb900_0120, // str w0, [x9]
    0xd280_0080, // mov x0, #4: MEM_UNSHARE
    0xf2b8_c000, // movk x0, #0xc600, lsl #16
    0xaa0a_03e1, // mov x1, x10
    0xaa1f_03e2, // mov x2, xzr
    0xaa1f_03e3, // mov x3, xzr
    0xd400_0002, // hvc #0
    0xb910_0120, // str w0, [x9, #0x1000]
    0x1400_0000, // b .
];

/// Its code.
pub fn says_hi() -> Vec<u8> {
    SAYS_HI.iter().flat_map(|instruction| instruction.to_le_bytes()).collect()
}

/// What the last exit was.
pub fn event(run: &Run) -> Result<Event, Box<dyn std::error::Error>> {
    match (run.exit_reason, run.mmio_gpa, run.mmio_is_write) {
        (KVM_EXIT_MMIO, BELL, 1) => Ok(Event::Rang),
        (KVM_EXIT_MMIO, HALT, 1) => Ok(Event::Halted),
        (reason, ..) => Err(format!("the guest ended with exit reason {reason}").into()),
    }
}

impl Vm {
    /// Let the vCPU start with `code`.
    pub fn start(
        &self,
        memories: &gmem::Vm,
        code: &[u8],
    ) -> Result<(), Box<dyn std::error::Error>> {
        // Written while it is shared, and by default kept when it goes to the guest.
        let page = memories.create(PAGE, State::Shared)?;
        page.bind(Some(CODE_SLOT), CODE_GPA, 0, PAGE, &Default::default())?;
        page.map(&Default::default())?.write_bytes(0, code)?;
        page.convert(0, PAGE, State::Private, &ConvertOptions::new())?;
        // It is the guest's until the process ends.
        std::mem::forget(page);

        let pc = CODE_GPA;
        let mut reg = OneReg { id: KVM_REG_PC, address: &pc as *const u64 as u64 };
        let mut init = VcpuInit { target: 0, features: [0; 7] };
        // SAFETY: the structs are those of the calls, and of numbers, but for the address of a u64.
        unsafe {
            call(self.fd.as_fd(), KVM_ARM_PREFERRED_TARGET, &mut init)?;
            init.features[0] |= 1 << KVM_ARM_VCPU_PSCI_0_2;
            call(self.vcpu.as_fd(), KVM_ARM_VCPU_INIT, &mut init)?;
            call(self.vcpu.as_fd(), KVM_SET_ONE_REG, &mut reg)?;
        }
        Ok(())
    }
}
