/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * QEMU's edu device, opened through VFIO with an IOMMU, in either of the two ways.
 * Nothing here is about memory that converts.  Functions return 0, a descriptor, or
 * -errno.
 */
#ifndef EXAMPLES_EDU_H
#define EXAMPLES_EDU_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <gmem.h>
#include <limits.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* Its IDs on the PCI bus, and the size of its registers for KVM. */
#define EDU_DEVICE	"0x11e8"
#define EDU_REGISTERS	4096ul

/* iommufd, which the headers of Debian 12 do not know. */
#if __has_include(<linux/iommufd.h>)
#include <linux/iommufd.h>
#else
struct iommu_ioas_alloc {
	__u32 size;
	__u32 flags;
	__u32 out_ioas_id;
};
#define IOMMU_IOAS_ALLOC	_IO(';', 0x81)
#endif
#ifndef VFIO_DEVICE_BIND_IOMMUFD
struct vfio_device_bind_iommufd {
	__u32 argsz;
	__u32 flags;
	__s32 iommufd;
	__u32 out_devid;
};
struct vfio_device_attach_iommufd_pt {
	__u32 argsz;
	__u32 flags;
	__u32 pt_id;
};
#define VFIO_DEVICE_BIND_IOMMUFD	_IO(VFIO_TYPE, VFIO_BASE + 18)
#define VFIO_DEVICE_ATTACH_IOMMUFD_PT	_IO(VFIO_TYPE, VFIO_BASE + 19)
#endif

/* Its address on the bus.  -ENODEV: no such device, or VFIO is not available for it. */
static inline int edu_find(char *bdf, size_t size)
{
	DIR *dir = opendir("/sys/bus/pci/devices");
	char path[PATH_MAX], id[16];
	struct dirent *entry;
	int r = -ENODEV;
	FILE *f;

	while (dir && r && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/device", entry->d_name);
		f = fopen(path, "r");
		if (!f)
			continue;
		if (fgets(id, sizeof(id), f) && !strncmp(id, EDU_DEVICE, strlen(EDU_DEVICE))) {
			snprintf(bdf, size, "%s", entry->d_name);
			r = 0;
		}
		fclose(f);
	}
	if (dir)
		closedir(dir);

	return r ? r : access("/sys/bus/pci/drivers/vfio-pci", F_OK) ? -ENODEV : 0;
}

static inline int edu_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), r;

	if (fd < 0)
		return -errno;
	r = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return r;
}

static inline int edu_give_to_vfio(const char *bdf)
{
	char path[PATH_MAX];
	int r;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver", bdf);
	if (!access(path, F_OK))
		return 0;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver_override", bdf);
	r = edu_write(path, "vfio-pci");
	return r ? r : edu_write("/sys/bus/pci/drivers_probe", bdf);
}

/*
 * Open the device, attached to an IOMMU before anything is mapped there; @iommu is filled
 * in with what the library needs to know about it.
 */
static inline int edu_open_type1(const char *bdf, struct gmem_iommu_opts *iommu)
{
	char path[PATH_MAX], target[PATH_MAX];
	int group, device;
	ssize_t length;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", bdf);
	length = readlink(path, target, sizeof(target) - 1);
	if (length < 0)
		return -errno;
	target[length] = '\0';
	snprintf(path, sizeof(path), "/dev/vfio/%s", strrchr(target, '/') + 1);

	iommu->fd = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (iommu->fd < 0)
		return -errno;
	group = open(path, O_RDWR | O_CLOEXEC);
	if (group < 0 || ioctl(group, VFIO_GROUP_SET_CONTAINER, &iommu->fd) ||
	    ioctl(iommu->fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		device = -errno;
	else
		device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
	if (device == -1)
		device = -errno;
	if (device < 0)
		close(iommu->fd);
	/* The open device keeps it. */
	if (group >= 0)
		close(group);
	return device;
}

static inline int edu_open_iommufd(const char *bdf, struct gmem_iommu_opts *iommu)
{
	struct vfio_device_attach_iommufd_pt attach = { .argsz = sizeof(attach) };
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind) };
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	char path[PATH_MAX], name[NAME_MAX + 1] = "";
	struct dirent *entry;
	int device, r;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev", bdf);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] != '.')
			snprintf(name, sizeof(name), "%s", entry->d_name);
	}
	if (dir)
		closedir(dir);
	if (!name[0])
		return -ENODEV;
	snprintf(path, sizeof(path), "/dev/vfio/devices/%s", name);

	iommu->fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	if (iommu->fd < 0)
		return -errno;
	device = open(path, O_RDWR | O_CLOEXEC);
	bind.iommufd = iommu->fd;
	if (device < 0 || ioctl(device, VFIO_DEVICE_BIND_IOMMUFD, &bind) ||
	    ioctl(iommu->fd, IOMMU_IOAS_ALLOC, &alloc))
		goto fail;
	attach.pt_id = alloc.out_ioas_id;
	if (ioctl(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach))
		goto fail;
	iommu->ioas_id = alloc.out_ioas_id;
	return device;

fail:
	r = -errno;
	if (device >= 0)
		close(device);
	close(iommu->fd);
	return r;
}

/* Map its registers at *@registers; the device may access memory from now on. */
static inline int edu_map_registers(int device, void **registers)
{
	struct vfio_region_info config = {
		.argsz = sizeof(config), .index = VFIO_PCI_CONFIG_REGION_INDEX,
	};
	struct vfio_region_info bar = {
		.argsz = sizeof(bar), .index = VFIO_PCI_BAR0_REGION_INDEX,
	};
	const uint16_t memory_and_master = 6;
	const unsigned int command_register = 4;

	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &config) ||
	    ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &bar) ||
	    pwrite(device, &memory_and_master, sizeof(memory_and_master),
		   config.offset + command_register) < 0)
		return -errno;

	*registers = mmap(NULL, EDU_REGISTERS, PROT_READ | PROT_WRITE, MAP_SHARED, device,
			  bar.offset);
	return *registers == MAP_FAILED ? -errno : 0;
}

#endif
