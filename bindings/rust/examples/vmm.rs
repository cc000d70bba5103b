// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//! The smallest VMM for a guest with private memory, and a listener that is told of what the guest
//! shares.  All memory begins private; the guest asks for one page to be shared, leaves a message
//! there, rings, and takes the page back.  The VMM only has to pass exits to `Vm::handle_exit()`.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod vm;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use gmem::{ConvertOptions, Errno, Listener, ListenerOptions, Range, State, VmOptions};
    use vm::{says_hi, Event, DATA_GPA, PAGE, VM_TYPE};

    /// A back end would map and unmap here.
    struct BackEnd;

    impl Listener for BackEnd {
        fn before_private(&self, range: &Range) -> Result<(), Errno> {
            println!("  lets go of    {:#x}, {} bytes", range.gpa.unwrap_or(0), range.size);
            Ok(())
        }

        fn after_shared(&self, range: &Range) -> Result<(), Errno> {
            println!("  takes hold of {:#x}, {} bytes", range.gpa.unwrap_or(0), range.size);
            Ok(())
        }
    }

    let vm = vm::Vm::create()?;
    let memories = gmem::Vm::new(&vm, &VmOptions::new().vm_type(VM_TYPE))?;
    let ram = memories.create(16 * PAGE, State::Private)?;
    ram.bind(Some(1), DATA_GPA, 0, ram.size(), &Default::default())?;
    let _back_end = memories.add_listener(BackEnd, &ListenerOptions::new().replay(true))?;
    let hva = ram.map(&Default::default())?;
    vm.start(&memories, &says_hi())?;

    let options = ConvertOptions::new();
    assert_eq!(vm.run(&memories, &options)?, Event::Rang);
    // The guest does not run, so it does not take the page back meanwhile.
    let hi: [u8; 2] = hva.read(0)?;
    println!("the guest says: {}", String::from_utf8_lossy(&hi));
    assert_eq!(&hi, b"hi");
    assert_eq!(vm.run(&memories, &options)?, Event::Halted);

    let page = ram.lookup(0)?;
    println!("the guest halted; page 0 is {} again", page.state);
    assert_eq!(page.state, State::Private);
    // An error says what was being done, and at which address.
    let error = memories
        .convert(DATA_GPA + ram.size(), PAGE, State::Private, &options)
        .expect_err("nothing is bound there");
    println!("beyond the end: {error}");
    assert_eq!((error.errno(), error.address()), (Errno::ENXIO, Some(DATA_GPA + ram.size())));
    Ok(())
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn main() {
    println!("its guest is for x86 and arm64");
    std::process::exit(4);
}
