// SPDX-License-Identifier: GPL-2.0
/*
 * An IOMMU has shared pages mapped for a device that reads and writes them: QEMU's edu,
 * bound to vfio-pci, in each mode that libvfio supports.  A mapped page cannot become
 * private, a private page cannot be mapped, and no transfer reaches it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/capability.h>
#include <linux/iommufd.h>

#include <libvfio.h>

#include "gmem_harness.h"
#include "gmem_util.h"
#include "ucall_common.h"

/* How the bus identifies the device, and how the device identifies itself: 1.0, and its name. */
#define EDU_DEVICE	"0x11e8"
#define EDU_VERSION	0x010000edu

/* Its registers, its command bits, and the offset of its own memory. */
#define EDU_SRC		0x80
#define EDU_DST		0x88
#define EDU_COUNT	0x90
#define EDU_COMMAND	0x98
#define EDU_RUN		BIT(0)
#define EDU_TO_MEMORY	BIT(1)
#define EDU_BUFFER	0x40000

/* Half a page.  QEMU 7.2 aborts at the last byte of the buffer. */
#define BYTES		2048

#define BAR_GPA		(GMEM_GPA + BIT_ULL(30))
#define BAR_SLOT	11

/* ---- The device, for the host and for a guest that has its BAR --------------- */

static void edu_transfer(void *bar, u64 src, u64 dst, u64 command)
{
	WRITE_ONCE(*(u64 *)(bar + EDU_SRC), src);
	WRITE_ONCE(*(u64 *)(bar + EDU_DST), dst);
	WRITE_ONCE(*(u64 *)(bar + EDU_COUNT), BYTES);
	WRITE_ONCE(*(u64 *)(bar + EDU_COMMAND), command | EDU_RUN);
	while (READ_ONCE(*(u64 *)(bar + EDU_COMMAND)) & EDU_RUN)
		cpu_relax();
}

/* The device has a page at the guest's address. */
static u64 iova_of(u64 page)
{
	return GMEM_GPA + page * PAGE_SIZE;
}

static void device_reads(void *bar, u64 page)
{
	edu_transfer(bar, iova_of(page), EDU_BUFFER, 0);
}

static void device_writes(void *bar, u64 page)
{
	edu_transfer(bar, EDU_BUFFER, iova_of(page), EDU_TO_MEMORY);
}

/* Its address on the bus, or NULL. */
static const char *find_edu(void)
{
	static char bdf[32];
	char path[PATH_MAX], device[16];
	struct dirent *entry;
	DIR *dir;
	int fd;

	dir = opendir("/sys/bus/pci/devices");
	while (dir && !bdf[0] && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/device", entry->d_name);
		fd = open(path, O_RDONLY);
		if (fd < 0)
			continue;
		if (read(fd, device, sizeof(device)) > 0 &&
		    !strncmp(device, EDU_DEVICE, strlen(EDU_DEVICE)))
			snprintf(bdf, sizeof(bdf), "%.31s", entry->d_name);
		close(fd);
	}
	if (dir)
		closedir(dir);

	return bdf[0] ? bdf : NULL;
}

static void give_to_vfio(const char *bdf)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver", bdf);
	if (!access(path, F_OK))
		return;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver_override", bdf);
	TEST_ASSERT_EQ(write_file(path, "vfio-pci"), 0);
	TEST_ASSERT_EQ(write_file("/sys/bus/pci/drivers_probe", bdf), 0);
}

#define NEEDS	"needs QEMU's edu device behind an IOMMU, VFIO and iommufd"

static bool has_device(void)
{
	return find_edu() && !access("/dev/vfio/vfio", F_OK) && !access("/dev/iommu", F_OK);
}

/* ---- In each mode ------------------------------------------------------------ */

FIXTURE(vfio) {
	struct gmem_vm g;
	struct iommu *iommu;
	struct vfio_pci_device *device;
	void *bar;
	struct dma_region regions[GMEM_PAGES];
};

FIXTURE_VARIANT(vfio) {
	const char *mode;
	/* What unmapping one page of a larger mapping returns. */
	int part;
	/* Whether that works, with the other pages staying mapped. */
	bool cuts;
};

FIXTURE_VARIANT_ADD(vfio, vfio_type1_iommu) {
	.mode = MODE_VFIO_TYPE1_IOMMU,
};

FIXTURE_VARIANT_ADD(vfio, vfio_type1v2_iommu) {
	.mode = MODE_VFIO_TYPE1V2_IOMMU,
	.part = -EINVAL,
};

FIXTURE_VARIANT_ADD(vfio, iommufd_compat_type1) {
	.mode = MODE_IOMMUFD_COMPAT_TYPE1,
	.cuts = true,
};

FIXTURE_VARIANT_ADD(vfio, iommufd_compat_type1v2) {
	.mode = MODE_IOMMUFD_COMPAT_TYPE1V2,
	.part = -ENOENT,
};

FIXTURE_VARIANT_ADD(vfio, iommufd) {
	.mode = MODE_IOMMUFD,
	.part = -ENOENT,
};

static void open_device(struct _test_data_vfio *self, const char *mode)
{
	give_to_vfio(find_edu());
	self->iommu = iommu_init(mode);
	self->device = vfio_pci_device_init(find_edu(), self->iommu);
	vfio_pci_cmd_set(self->device, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	self->bar = self->device->bars[0].vaddr;
	TEST_ASSERT_EQ(READ_ONCE(*(u32 *)self->bar), EDU_VERSION);
}

static void close_device(struct _test_data_vfio *self)
{
	if (self->device)
		vfio_pci_device_cleanup(self->device);
	if (self->iommu)
		iommu_cleanup(self->iommu);
	self->device = NULL;
	self->iommu = NULL;
}

FIXTURE_SETUP(vfio)
{
	if (!has_device())
		SKIP(return, NEEDS);

	gmem_vm_create(&self->g, GMEM_PAGES, GMEM_IN_PLACE);
	open_device(self, variant->mode);
}

FIXTURE_TEARDOWN(vfio)
{
	close_device(self);
	if (self->g.vm)
		gmem_vm_destroy(&self->g);
}

static int map_pages(struct _test_data_vfio *self, u64 page, u64 nr)
{
	struct dma_region *region = &self->regions[page];

	*region = (struct dma_region) {
		.vaddr = self->g.mem + page * PAGE_SIZE,
		.iova = iova_of(page),
		.size = nr * PAGE_SIZE,
	};

	return __iommu_map(self->iommu, region);
}

/* A mapping of its own for each page, as each may become private on its own. */
static void map_page(struct _test_data_vfio *self, u64 page)
{
	TEST_ASSERT_EQ(map_pages(self, page, 1), 0);
}

static void unmap_page(struct _test_data_vfio *self, u64 page)
{
	iommu_unmap(self->iommu, &self->regions[page]);
}

/* The page of the file that keeps [page, page + nr) from becoming private, or -1. */
static int refused_at(struct gmem_vm *g, u64 page, u64 nr)
{
	u64 where = POISON;
	int r;

	r = __gmem_convert(g->fd, page * PAGE_SIZE, nr * PAGE_SIZE, PRIVATE, PRESERVE, &where);
	if (!r)
		return -1;

	TEST_ASSERT_EQ(r, -EAGAIN);
	expect_state(g, page, nr, SHARED);
	return where / PAGE_SIZE;
}

TEST_F(vfio, device_host_and_guest_share_a_page)
{
	struct gmem_vm *g = &self->g;

	map_page(self, 3);
	map_page(self, 4);
	guest_write(g, 3, 'a');
	host_write(g, 4, 'b');
	device_reads(self->bar, 3);
	device_writes(self->bar, 4);
	TEST_ASSERT_EQ(g->mem[4 * PAGE_SIZE], 'a');
	TEST_ASSERT_EQ(g->mem[4 * PAGE_SIZE + BYTES - 1], 'a');
	TEST_ASSERT_EQ(g->mem[4 * PAGE_SIZE + BYTES], 'b');
	TEST_ASSERT_EQ(guest_read(g, 4), MIXED);
}

TEST_F(vfio, lowest_mapped_page_refuses_until_it_is_unmapped)
{
	struct gmem_vm *g = &self->g;

	host_write(g, 5, 'c');
	map_page(self, 5);
	map_page(self, 9);
	TEST_ASSERT_EQ(refused_at(g, 0, GMEM_PAGES), 5);
	/* A mapped page does not affect its neighbours. */
	TEST_ASSERT_EQ(refused_at(g, 6, 3), -1);
	gmem_convert(g, 6, 3, SHARED, PRESERVE);
	unmap_page(self, 5);
	TEST_ASSERT_EQ(refused_at(g, 0, GMEM_PAGES), 9);
	unmap_page(self, 9);
	TEST_ASSERT_EQ(refused_at(g, 0, GMEM_PAGES), -1);
	TEST_ASSERT_EQ(guest_read(g, 5), 'c');
}

TEST_F(vfio, private_and_mixed_ranges_do_not_map_and_leave_no_pin)
{
	struct gmem_vm *g = &self->g;

	gmem_convert(g, 2, 2, PRIVATE, ZERO);
	TEST_ASSERT_EQ(map_pages(self, 2, 1), -EFAULT);
	TEST_ASSERT_EQ(map_pages(self, 0, 4), -EFAULT);
	TEST_ASSERT_EQ(refused_at(g, 0, 2), -1);
	gmem_convert(g, 0, 4, SHARED, ZERO);
	TEST_ASSERT_EQ(map_pages(self, 0, 4), 0);
	unmap_page(self, 0);
}

TEST_F(vfio, device_does_not_reach_a_page_that_went_private)
{
	struct gmem_vm *g = &self->g;

	host_write(g, 1, 'd');
	host_write(g, 2, 'e');
	map_page(self, 1);
	map_page(self, 2);
	/* Have the IOTLB cache both. */
	device_reads(self->bar, 1);
	device_writes(self->bar, 2);
	unmap_page(self, 2);
	guest_write(g, 2, 'f');
	gmem_convert(g, 2, 1, PRIVATE, PRESERVE);
	device_writes(self->bar, 2);
	TEST_ASSERT_EQ(guest_read(g, 2), 'f');
	device_reads(self->bar, 2);
	device_writes(self->bar, 1);
	TEST_ASSERT(g->mem[PAGE_SIZE] != 'f', "the device has read a private page");

	gmem_convert(g, 2, 1, SHARED, ZERO);
	map_page(self, 2);
	host_write(g, 1, 'g');
	device_reads(self->bar, 1);
	device_writes(self->bar, 2);
	TEST_ASSERT_EQ(g->mem[2 * PAGE_SIZE], 'g');
}

struct writer {
	pthread_t thread;
	void *bar;
	u64 page;
	u64 nr_transfers;
	bool stop;
};

static void *write_all_the_time(void *arg)
{
	struct writer *w = arg;

	while (!READ_ONCE(w->stop)) {
		device_writes(w->bar, w->page);
		WRITE_ONCE(w->nr_transfers, w->nr_transfers + 1);
	}

	return NULL;
}

static void wait_for_transfers(struct writer *w, u64 nr)
{
	u64 until = READ_ONCE(w->nr_transfers) + nr;

	while (READ_ONCE(w->nr_transfers) < until)
		usleep(1000);
}

TEST_F(vfio, device_that_writes_all_the_time_reaches_shared_pages_only)
{
	struct gmem_vm *g = &self->g;
	struct writer writer = { .bar = self->bar, .page = 6 };
	int round;

	host_write(g, 1, 'h');
	map_page(self, 1);
	device_reads(self->bar, 1);
	map_page(self, 6);
	TEST_ASSERT_EQ(pthread_create(&writer.thread, NULL, write_all_the_time, &writer), 0);
	for (round = 0; round < 6; round++) {
		/* Two, as the first may have started before the page was mapped. */
		wait_for_transfers(&writer, 2);
		TEST_ASSERT_EQ(g->mem[6 * PAGE_SIZE], 'h');
		unmap_page(self, 6);
		gmem_convert(g, 6, 1, PRIVATE, ZERO);
		guest_write(g, 6, 'i');
		wait_for_transfers(&writer, 2);
		TEST_ASSERT_EQ(guest_read(g, 6), 'i');
		gmem_convert(g, 6, 1, SHARED, ZERO);
		TEST_ASSERT_EQ(host_read(g, 6), 0);
		map_page(self, 6);
	}
	WRITE_ONCE(writer.stop, true);
	pthread_join(writer.thread, NULL);
}

TEST_F(vfio, part_of_a_mapping)
{
	struct gmem_vm *g = &self->g;
	struct dma_region part = {
		.iova = iova_of(5), .size = PAGE_SIZE, .link = LIST_HEAD_INIT(part.link),
	};
	u64 unmapped = POISON;
	int r;

	TEST_ASSERT_EQ(map_pages(self, 2, 8), 0);
	TEST_ASSERT_EQ(refused_at(g, 5, 1), 5);
	r = __iommu_unmap(self->iommu, &part, &unmapped);
	TEST_ASSERT_EQ(r, variant->part);
	if (!r)
		TEST_ASSERT_EQ(unmapped, variant->cuts ? PAGE_SIZE : 0);
	TEST_ASSERT_EQ(refused_at(g, 5, 1), variant->cuts ? -1 : 5);

	/* The others are still there for the device. */
	TEST_ASSERT_EQ(refused_at(g, 4, 1), 4);
	TEST_ASSERT_EQ(refused_at(g, 6, 4), 6);
	host_write(g, 4, 'j');
	device_reads(self->bar, 4);
	device_writes(self->bar, 6);
	TEST_ASSERT_EQ(g->mem[6 * PAGE_SIZE], 'j');
	iommu_unmap_all(self->iommu);
	TEST_ASSERT_EQ(refused_at(g, 6, 4), -1);
}

/* Root is exempt from the limit, so drop root's privileges. */
static void limit_locked_memory(u64 pages)
{
	struct rlimit limit = { .rlim_cur = pages * PAGE_SIZE, .rlim_max = pages * PAGE_SIZE };
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	TEST_ASSERT_EQ(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
	TEST_ASSERT_EQ(syscall(SYS_capget, &header, data), 0);
	data[CAP_TO_INDEX(CAP_IPC_LOCK)].effective &= ~CAP_TO_MASK(CAP_IPC_LOCK);
	TEST_ASSERT_EQ(syscall(SYS_capset, &header, data), 0);
}

TEST_F(vfio, limit_of_locked_memory_leaves_no_pin)
{
	struct gmem_vm *g = &self->g;
	u64 page;

	limit_locked_memory(4);
	for (page = 0; page < 4; page++)
		map_page(self, page);
	TEST_ASSERT_EQ(map_pages(self, 4, 1), -ENOMEM);
	TEST_ASSERT_EQ(map_pages(self, 8, 8), -ENOMEM);
	TEST_ASSERT_EQ(refused_at(g, 4, GMEM_PAGES - 4), -1);
	unmap_page(self, 2);
	TEST_ASSERT_EQ(refused_at(g, 2, 1), -1);
	gmem_convert(g, 4, 1, SHARED, ZERO);
	map_page(self, 4);
}

/* The device keeps the page that the file has dropped. */
TEST_F(vfio, hole_under_a_mapping_parts_device_and_file)
{
	struct gmem_vm *g = &self->g;

	host_write(g, 3, 'k');
	map_page(self, 3);
	map_page(self, 4);
	punch_hole(g, 3, 1);
	TEST_ASSERT_EQ(host_read(g, 3), 0);
	TEST_ASSERT_EQ(guest_read(g, 3), 0);
	device_reads(self->bar, 3);
	device_writes(self->bar, 4);
	TEST_ASSERT_EQ(g->mem[4 * PAGE_SIZE], 'k');
	/* Nobody holds the new page. */
	TEST_ASSERT_EQ(refused_at(g, 3, 1), -1);
	guest_write(g, 3, 'l');
	device_writes(self->bar, 3);
	TEST_ASSERT_EQ(guest_read(g, 3), 'l');
}

TEST_F(vfio, pin_outlives_the_address_it_was_made_at)
{
	struct gmem_vm *g = &self->g;

	map_page(self, 7);
	munmap(g->mem, GMEM_PAGES * PAGE_SIZE);
	TEST_ASSERT_EQ(mmap(g->mem, GMEM_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_FIXED, g->fd, 0), (void *)g->mem);
	TEST_ASSERT_EQ(refused_at(g, 0, GMEM_PAGES), 7);
	host_write(g, 7, 'm');
	device_reads(self->bar, 7);
	unmap_page(self, 7);
	TEST_ASSERT_EQ(refused_at(g, 0, GMEM_PAGES), -1);
}

static void guest_driver(void)
{
	u8 *mem = (u8 *)GMEM_GPA;
	void *bar = (void *)BAR_GPA;

	GUEST_ASSERT_EQ(READ_ONCE(*(u32 *)bar), EDU_VERSION);
	WRITE_ONCE(mem[PAGE_SIZE], 'n');
	device_reads(bar, 1);
	device_writes(bar, 2);
	GUEST_SYNC(READ_ONCE(mem[2 * PAGE_SIZE]));

	/* Page 2 is private by now. */
	WRITE_ONCE(mem[2 * PAGE_SIZE], 'o');
	device_writes(bar, 2);
	GUEST_SYNC(READ_ONCE(mem[2 * PAGE_SIZE]));
}

static int guest_says(struct gmem_vm *g)
{
	struct ucall uc;

	vcpu_run(g->vcpu);
	TEST_ASSERT_EQ(get_ucall(g->vcpu, &uc), UCALL_SYNC);

	return uc.args[1];
}

TEST_F(vfio, guest_drives_the_device)
{
	struct gmem_vm *g = &self->g;

	vm_set_user_memory_region(g->vm, BAR_SLOT, 0, BAR_GPA, PAGE_SIZE, self->bar);
	virt_map(g->vm, BAR_GPA, BAR_GPA, 1);
	vcpu_arch_set_entry_point(g->vcpu, guest_driver);
	map_page(self, 1);
	map_page(self, 2);
	TEST_ASSERT_EQ(guest_says(g), 'n');
	TEST_ASSERT_EQ(g->mem[2 * PAGE_SIZE], 'n');
	unmap_page(self, 2);
	gmem_convert(g, 2, 1, PRIVATE, PRESERVE);
	TEST_ASSERT_EQ(guest_says(g), 'o');
	vm_set_user_memory_region(g->vm, BAR_SLOT, 0, BAR_GPA, 0, NULL);
}

/* What can be torn down, in any order, while a page is mapped. */
enum { MAPPING, FILE_OF_MEMORY, DEVICE, VM, NR_PARTS };

static void take_down(struct _test_data_vfio *self, int part)
{
	switch (part) {
	case MAPPING:
		munmap(self->g.mem, GMEM_PAGES * PAGE_SIZE);
		break;
	case FILE_OF_MEMORY:
		close(self->g.fd);
		break;
	case DEVICE:
		close_device(self);
		break;
	case VM:
		guest_destroy(&self->g);
		break;
	}
}

TEST_F(vfio, taken_down_in_every_order)
{
	int order, i, rest, part, parts[NR_PARTS];

	for (order = 0; order < 24; order++) {
		if (!self->device) {
			gmem_vm_create(&self->g, GMEM_PAGES, GMEM_IN_PLACE);
			open_device(self, variant->mode);
		}
		map_page(self, 2);
		map_page(self, 11);
		gmem_convert(&self->g, 4, 4, PRIVATE, ZERO);
		guest_write(&self->g, 5, 'p');
		for (i = 0; i < NR_PARTS; i++)
			parts[i] = i;
		/*
		 * The digits of the order's number, in the factorial system, choose from
		 * what is left.
		 */
		for (i = NR_PARTS, rest = order; i > 0; rest /= i, i--) {
			part = rest % i;
			take_down(self, parts[part]);
			memmove(parts + part, parts + part + 1,
				(i - part - 1) * sizeof(parts[0]));
		}
		show_progress("orders", order + 1, 24);
	}
	memset(&self->g, 0, sizeof(self->g));
}

/* ---- What an IOAS does before it has a device -------------------------------- */

FIXTURE(ioas) {
	struct gmem_vm g;
	struct iommu *iommu;
	int device;
};

FIXTURE_SETUP(ioas)
{
	const char *bdf = find_edu();

	self->device = -1;
	if (!has_device())
		SKIP(return, NEEDS);

	gmem_vm_create(&self->g, GMEM_PAGES, GMEM_IN_PLACE);
	give_to_vfio(bdf);
	self->iommu = iommu_init(MODE_IOMMUFD);
	self->device = open(vfio_pci_get_cdev_path(bdf), O_RDWR);
	TEST_ASSERT(self->device >= 0, "cannot open the device of %s", bdf);
	TEST_ASSERT_EQ(__vfio_device_bind_iommufd(self->device, self->iommu->iommufd, NULL), 0);
}

FIXTURE_TEARDOWN(ioas)
{
	if (self->device >= 0)
		close(self->device);
	if (self->iommu)
		iommu_cleanup(self->iommu);
	if (self->g.vm)
		gmem_vm_destroy(&self->g);
}

static int attach(struct _test_data_ioas *self)
{
	struct vfio_device_attach_iommufd_pt args = {
		.argsz = sizeof(args), .pt_id = self->iommu->ioas_id,
	};

	return ioctl(self->device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &args) ? -errno : 0;
}

static int detach(struct _test_data_ioas *self)
{
	struct vfio_device_detach_iommufd_pt args = { .argsz = sizeof(args) };

	return ioctl(self->device, VFIO_DEVICE_DETACH_IOMMUFD_PT, &args) ? -errno : 0;
}

TEST_F(ioas, mapping_pins_while_a_device_is_attached)
{
	struct gmem_vm *g = &self->g;
	struct dma_region region = {
		.vaddr = g->mem + 2 * PAGE_SIZE, .iova = iova_of(2), .size = 2 * PAGE_SIZE,
	};

	TEST_ASSERT_EQ(__iommu_map(self->iommu, &region), 0);
	TEST_ASSERT_EQ(refused_at(g, 3, 1), -1);
	TEST_ASSERT_EQ(attach(self), -EFAULT);
	TEST_ASSERT_EQ(refused_at(g, 2, 1), -1);
	gmem_convert(g, 2, 2, SHARED, ZERO);
	TEST_ASSERT_EQ(attach(self), 0);
	TEST_ASSERT_EQ(refused_at(g, 0, GMEM_PAGES), 2);
	TEST_ASSERT_EQ(detach(self), 0);
	TEST_ASSERT_EQ(refused_at(g, 0, GMEM_PAGES), -1);
}

static int map_file(struct _test_data_ioas *self, int fd, u64 page)
{
	struct iommu_ioas_map_file args = {
		.size = sizeof(args),
		.flags = IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE |
			 IOMMU_IOAS_MAP_FIXED_IOVA,
		.ioas_id = self->iommu->ioas_id,
		.fd = fd,
		.start = page * PAGE_SIZE,
		.length = PAGE_SIZE,
		.iova = iova_of(page),
	};

	return ioctl(self->iommu->iommufd, IOMMU_IOAS_MAP_FILE, &args) ? -errno : 0;
}

/* It pins by file, but supports only shmem and hugetlbfs. */
TEST_F(ioas, guest_memfd_is_mapped_by_address_only)
{
	struct gmem_vm *g = &self->g;
	int memfd = memfd_create("other", 0);

	TEST_ASSERT_EQ(ftruncate(memfd, PAGE_SIZE), 0);
	TEST_ASSERT_EQ(attach(self), 0);
	TEST_ASSERT_EQ(map_file(self, memfd, 0), 0);
	TEST_ASSERT_EQ(map_file(self, g->fd, 1), -EINVAL);
	TEST_ASSERT_EQ(refused_at(g, 1, 1), -1);
	gmem_convert(g, 1, 1, SHARED, ZERO);
	TEST_ASSERT_EQ(detach(self), 0);

	/* Without a device nothing is checked until one is attached. */
	TEST_ASSERT_EQ(map_file(self, g->fd, 1), 0);
	TEST_ASSERT_EQ(attach(self), -EINVAL);
	TEST_ASSERT_EQ(refused_at(g, 0, GMEM_PAGES), -1);
	close(memfd);
}

int main(int argc, char **argv)
{
	return test_harness_run(argc, argv);
}
