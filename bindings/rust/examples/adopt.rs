// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//! A VMM that makes its own files, mapping and slots, as most existing ones do, and uses the
//! library only for conversions.  All memory begins private; the guest asks for one page to be
//! shared, leaves a message there, rings, and takes the page back.
#[cfg(target_arch = "x86_64")]
mod vm;

#[cfg(target_arch = "x86_64")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use gmem::{AdoptOptions, BindOptions, ConvertOptions, Errno, Mechanism, State, VmOptions};
    use std::os::unix::io::AsFd;
    use vm::{says_hi, Event, DATA_GPA, PAGE, VM_TYPE};

    const SIZE: u64 = 16 * PAGE;

    let vm = vm::Vm::create()?;
    let memories = gmem::Vm::new(&vm, &VmOptions::new().vm_type(VM_TYPE))?;
    let in_place = memories.probe().mechanism() != Some(Mechanism::TwoBackings);

    // What the VMM has and keeps.  In place one file has both halves.
    let file = vm.create_guest_memfd(SIZE, in_place)?;
    let hva = vm::map(in_place.then_some(file.as_fd()), SIZE as usize)?;

    // The states are the kernel's, if it can be asked, otherwise the initial ones.
    // SAFETY: it is mapped until the process ends.
    let options = unsafe { AdoptOptions::new().hva(hva) }.state(State::Private);
    let ram = match memories.adopt(SIZE, &file, None, &options.ask_kernel(true)) {
        Err(error) if error.errno() == Errno::EOPNOTSUPP => {
            memories.adopt(SIZE, &file, None, &options)?
        }
        ram => ram?,
    };
    assert!(ram.ranges().all(|range| range.state == State::Private));

    // Bound first, so that no vCPU finds a slot with the wrong states.
    ram.bind(None, DATA_GPA, 0, SIZE, &BindOptions::new())?;
    // SAFETY: it is mapped until the process ends, for the guest.
    unsafe { vm.set_slot(hva, SIZE, file.as_fd()) }?;
    vm.start(&memories, &says_hi())?;

    let convert = ConvertOptions::new();
    assert_eq!(vm.run(&memories, &convert)?, Event::Rang);
    let hi: [u8; 2] = ram.map(&Default::default())?.read(0)?;
    println!("the guest says {}", String::from_utf8_lossy(&hi));
    assert_eq!(&hi, b"hi");
    assert_eq!(vm.run(&memories, &convert)?, Event::Halted);
    assert_eq!(memories.lookup(DATA_GPA)?.state, State::Private);
    if in_place {
        assert_eq!(ram.verify()?, None);
    }

    // In the opposite order.
    // SAFETY: of no size.
    unsafe { vm.set_slot(hva, 0, file.as_fd()) }?;
    memories.unbind(DATA_GPA, &BindOptions::new())?;
    drop(ram);
    drop(memories);

    // Everything still exists.
    let size = std::fs::File::from(file).metadata()?.len();
    println!("page 0 is private again; the VMM has its own file of {size} bytes");
    assert_eq!(size, SIZE);
    Ok(())
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {
    println!("its guest is for x86");
    std::process::exit(4);
}
