// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//! A real device in the hands of a guest with private memory: the IOMMU maps what the guest shares,
//! for as long as it does, and stops the device everywhere else.
//!
//!     vfio [iommufd|type1]    QEMU's edu device, which vfio-pci gets
//!
//! The guest shares two pages and has the device copy one to the other, takes the second back, and
//! has it tried again.  Exit status 4: there is no such device, or no VFIO.
#[cfg(target_arch = "x86_64")]
mod edu;
#[cfg(target_arch = "x86_64")]
mod vm;

#[cfg(target_arch = "x86_64")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use gmem::{ConvertOptions, State, VmOptions};
    use vm::{Event, DATA_GPA, DEVICE_GPA, PAGE, VM_TYPE};

    let bdf = match edu::find() {
        Some(bdf) => bdf,
        None => {
            println!("no edu device, or no VFIO");
            std::process::exit(4);
        }
    };
    edu::Edu::give_to_vfio(&bdf)?;
    let device = edu::Edu::open(&bdf, std::env::args().nth(1).as_deref())?;
    println!("{bdf} through {}", if device.ioas_id != 0 { "iommufd" } else { "VFIO type1" });

    let vm = vm::Vm::create()?;
    let memories = gmem::Vm::new(&vm, &VmOptions::new().vm_type(VM_TYPE))?;
    let ram = memories.create(16 * PAGE, State::Private)?;
    ram.bind(Some(1), DATA_GPA, 0, ram.size(), &Default::default())?;
    let hva = ram.map(&Default::default())?;

    // The guest's own path to the device: a slot of the VMM's, that cannot be converted.
    let registers = device.map_registers()?;
    // SAFETY: they are mapped until the process ends.
    unsafe { vm.add_ordinary_slot(2, DEVICE_GPA, registers, PAGE) }?;
    memories.exclude(DEVICE_GPA, PAGE, &Default::default())?;

    // And the device's path to the guest: what is shared, now and later.
    let iommu = memories.add_iommu(&device.iommu, device.ioas_id)?;
    vm.start(&memories, &vm::has_a_device())?;

    let options = ConvertOptions::new();
    assert_eq!(vm.run(&memories, &options)?, Event::Rang);
    let copied: [u8; 3] = hva.read(2 * PAGE)?;
    println!("pages 1 and 2 are shared: the device has copied '{}'", copied.escape_ascii());
    assert_eq!(&copied, b"DMA");

    assert_eq!(vm.run(&memories, &options)?, Event::Rang);
    let read = vm.rang_with();
    println!(
        "page 2 is private: the guest wrote 's', the device tried, the guest reads '{}'",
        read.escape_ascii()
    );
    assert_eq!(read, b's');
    assert_eq!(vm.run(&memories, &options)?, Event::Halted);
    assert_eq!(memories.lookup(DATA_GPA + PAGE)?.state, State::Shared);

    // All is unmapped: what the device had goes private.
    iommu.remove()?;
    memories.convert(DATA_GPA, ram.size(), State::Private, &options)?;
    Ok(())
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {
    println!("its guest is for x86");
    std::process::exit(4);
}
