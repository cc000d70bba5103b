// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//! A bounce buffer with PRESERVE: the host writes a request and hands the page to the guest, which
//! works on it where nobody can see it; the host takes it back with the answer.  No byte is copied
//! and no page is exchanged.
#[cfg(target_arch = "x86_64")]
mod vm;

#[cfg(target_arch = "x86_64")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use gmem::{ConvertOptions, Policy, State, VmOptions};
    use vm::{Event, DATA_GPA, PAGE, TO_UPPER_CASE, VM_TYPE};

    let vm = vm::Vm::create()?;
    let memories = gmem::Vm::new(&vm, &VmOptions::new().vm_type(VM_TYPE))?;
    let probe = memories.probe();
    if !probe.to_shared(Policy::Preserve) || !probe.to_private(Policy::Preserve) {
        println!("{} keeps no contents here; copy instead", probe.mechanism().unwrap());
        std::process::exit(4);
    }
    let keep = ConvertOptions::new().to_shared(Policy::Preserve).to_private(Policy::Preserve);

    let buffer = memories.create(PAGE, State::Shared)?;
    buffer.bind(Some(1), DATA_GPA, 0, PAGE, &Default::default())?;
    let hva = buffer.map(&Default::default())?;
    vm.start(&memories, TO_UPPER_CASE)?;

    println!("host writes:  request");
    hva.write_bytes(0, b"request\0")?;
    buffer.convert(0, PAGE, State::Private, &keep)?;
    assert_eq!(vm.run(&memories, &keep)?, Event::Halted);
    buffer.convert(0, PAGE, State::Shared, &keep)?;

    let mut answer = [0; 7];
    hva.read_bytes(0, &mut answer)?;
    println!("host reads:   {}", String::from_utf8_lossy(&answer));
    assert_eq!(&answer, b"REQUEST");
    Ok(())
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {
    println!("its guest is for x86");
    std::process::exit(4);
}
