// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//! QEMU's edu device, opened through VFIO with an IOMMU before it, in either way that there is.
//! Nothing here is about memory that converts.
use crate::vm::{call, call_with, map_from, new_fd, PAGE};
use std::fs::{self, File, OpenOptions};
use std::io::{Error, ErrorKind, Result};
use std::os::raw::{c_ulong, c_void};
use std::os::unix::fs::FileExt;
use std::os::unix::io::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

const PCI: &str = "/sys/bus/pci/devices";
const EDU_DEVICE: &str = "0x11e8";

const VFIO_SET_IOMMU: c_ulong = 0x3b66;
const VFIO_GROUP_SET_CONTAINER: c_ulong = 0x3b68;
const VFIO_GROUP_GET_DEVICE_FD: c_ulong = 0x3b6a;
const VFIO_DEVICE_GET_REGION_INFO: c_ulong = 0x3b6c;
const VFIO_DEVICE_BIND_IOMMUFD: c_ulong = 0x3b76;
const VFIO_DEVICE_ATTACH_IOMMUFD_PT: c_ulong = 0x3b77;
const IOMMU_IOAS_ALLOC: c_ulong = 0x3b81;

const VFIO_TYPE1V2_IOMMU: u64 = 3;
const BAR0: u32 = 0;
const CONFIG: u32 = 7;

#[repr(C)]
struct IoasAlloc {
    size: u32,
    flags: u32,
    out_ioas_id: u32,
}

#[repr(C)]
struct BindIommufd {
    argsz: u32,
    flags: u32,
    iommufd: i32,
    out_devid: u32,
}

#[repr(C)]
struct AttachIommufdPt {
    argsz: u32,
    flags: u32,
    pt_id: u32,
}

#[repr(C)]
struct RegionInfo {
    argsz: u32,
    flags: u32,
    index: u32,
    cap_offset: u32,
    size: u64,
    offset: u64,
}

/// A device that is open, and what the library wants to know of its IOMMU.
pub struct Edu {
    device: File,
    pub iommu: OwnedFd,
    /// 0: a container of VFIO.
    pub ioas_id: u32,
}

/// Its address on the bus; `None`: no such device, or no VFIO that could have it.
pub fn find() -> Option<String> {
    let bdf = fs::read_dir(PCI).ok()?.flatten().find_map(|entry| {
        let id = fs::read_to_string(entry.path().join("device")).ok()?;
        (id.trim() == EDU_DEVICE).then(|| entry.file_name().to_string_lossy().into_owned())
    })?;
    Path::new("/sys/bus/pci/drivers/vfio-pci").exists().then_some(bdf)
}

fn open(path: impl AsRef<Path>) -> Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

impl Edu {
    /// Its driver becomes vfio-pci, unless it has one.
    pub fn give_to_vfio(bdf: &str) -> Result<()> {
        let sysfs = Path::new(PCI).join(bdf);
        if sysfs.join("driver").exists() {
            return Ok(());
        }
        fs::write(sysfs.join("driver_override"), "vfio-pci")?;
        fs::write("/sys/bus/pci/drivers_probe", bdf)
    }

    /// Attached to an IOMMU before anything is mapped there.
    pub fn open_type1(bdf: &str) -> Result<Edu> {
        let group = fs::read_link(Path::new(PCI).join(bdf).join("iommu_group"))?;
        let group = group.file_name().ok_or(ErrorKind::NotFound)?;
        let container = open("/dev/vfio/vfio")?;
        let group = open(Path::new("/dev/vfio").join(group))?;
        let mut fd = container.as_raw_fd();
        let mut name = [bdf.as_bytes(), &[0]].concat();

        // SAFETY: a number, and a string that ends with 0, as the calls take.
        let device = unsafe {
            call(group.as_fd(), VFIO_GROUP_SET_CONTAINER, &mut fd)?;
            call_with(container.as_fd(), VFIO_SET_IOMMU, VFIO_TYPE1V2_IOMMU)?;
            call(group.as_fd(), VFIO_GROUP_GET_DEVICE_FD, name.as_mut_ptr())?
        };
        // A device that is open keeps the group.
        Ok(Edu { device: new_fd(device).into(), iommu: container.into(), ioas_id: 0 })
    }

    /// The same with an iommufd.
    pub fn open_iommufd(bdf: &str) -> Result<Edu> {
        let name = fs::read_dir(Path::new(PCI).join(bdf).join("vfio-dev"))?
            .next()
            .ok_or(ErrorKind::NotFound)??;
        let iommu = open("/dev/iommu")?;
        let device = open(Path::new("/dev/vfio/devices").join(name.file_name()))?;
        let mut alloc = IoasAlloc { size: 12, flags: 0, out_ioas_id: 0 };
        let mut bind =
            BindIommufd { argsz: 16, flags: 0, iommufd: iommu.as_raw_fd(), out_devid: 0 };

        // SAFETY: the structs are those of the calls.
        unsafe {
            call(device.as_fd(), VFIO_DEVICE_BIND_IOMMUFD, &mut bind)?;
            call(iommu.as_fd(), IOMMU_IOAS_ALLOC, &mut alloc)?;
            let ioas_id = alloc.out_ioas_id;
            let mut attach = AttachIommufdPt { argsz: 12, flags: 0, pt_id: ioas_id };
            call(device.as_fd(), VFIO_DEVICE_ATTACH_IOMMUFD_PT, &mut attach)?;
            Ok(Edu { device, iommu: iommu.into(), ioas_id })
        }
    }

    fn region(&self, index: u32) -> Result<RegionInfo> {
        let mut info = RegionInfo { argsz: 32, flags: 0, index, cap_offset: 0, size: 0, offset: 0 };
        // SAFETY: the struct is that of the call.
        unsafe { call(self.device.as_fd(), VFIO_DEVICE_GET_REGION_INFO, &mut info)? };
        Ok(info)
    }

    /// Its registers, a page for the guest; the device may reach memory from now on.
    pub fn map_registers(&self) -> Result<*mut c_void> {
        const COMMAND: u64 = 4;
        const MEMORY_AND_MASTER: [u8; 2] = [6, 0];

        self.device.write_all_at(&MEMORY_AND_MASTER, self.region(CONFIG)?.offset + COMMAND)?;
        map_from(Some(self.device.as_fd()), self.region(BAR0)?.offset, PAGE as usize)
    }

    /// Through what: `type1`, `iommufd`, or the best there is.
    pub fn open(bdf: &str, through: Option<&str>) -> Result<Edu> {
        match through {
            Some("type1") => Edu::open_type1(bdf),
            Some("iommufd") => Edu::open_iommufd(bdf),
            None => Edu::open_iommufd(bdf).or_else(|_| Edu::open_type1(bdf)),
            Some(_) => Err(Error::from(ErrorKind::InvalidInput)),
        }
    }
}
