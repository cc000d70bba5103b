/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * What the library needs of the interfaces of VFIO and iommufd.  Debian 12 has
 * no <linux/iommufd.h>, so its few numbers are here, under names of our own.
 */
#ifndef GMEM_IOMMU_ABI_H
#define GMEM_IOMMU_ABI_H

#include <linux/ioctl.h>
#include <linux/types.h>
#include <linux/vfio.h>

#define IOAS_MAP	_IO(';', 0x85)
#define IOAS_UNMAP	_IO(';', 0x86)
#define IOAS_OPTION	_IO(';', 0x87)
#define IOAS_OF_VFIO	_IO(';', 0x88)

#define IOAS_MAP_FIXED_IOVA	(1u << 0)
#define IOAS_MAP_WRITEABLE	(1u << 1)
#define IOAS_MAP_READABLE	(1u << 2)

struct ioas_map {
	__u32 size;
	__u32 flags;
	__u32 ioas_id;
	__u32 reserved;
	__u64 user_va;
	__u64 length;
	__u64 iova;
};

struct ioas_unmap {
	__u32 size;
	__u32 ioas_id;
	__u64 iova;
	__u64 length;
};

#define OPTION_HUGE_PAGES	1
#define OPTION_SET		0
#define OPTION_GET		1

struct ioas_option {
	__u32 size;
	__u32 option;
	__u16 op;
	__u16 reserved;
	__u32 ioas_id;
	__u64 value;
};

/* The IOAS to which VFIO's own calls refer when an iommufd gets them. */
#define OF_VFIO_GET	0
#define OF_VFIO_SET	1
#define OF_VFIO_CLEAR	2

struct ioas_of_vfio {
	__u32 size;
	__u32 ioas_id;
	__u16 op;
	__u16 reserved;
};

#endif
