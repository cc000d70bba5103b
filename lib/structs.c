// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Structs that carry their size: initialised, taken from the caller, and given to it.  A new
 * member must begin at or after the old end of the struct, or an older caller's padding
 * would be taken for it.
 */
#include <errno.h>
#include <string.h>

#include "internal.h"

/* No struct is that large, so such a size is uninitialised memory of the caller. */
#define LARGEST_STRUCT	4096u

int check_struct(const void *of_caller)
{
	size_t size;

	memcpy(&size, of_caller, sizeof(size));
	if (size < sizeof(size))
		return -EINVAL;

	return size > LARGEST_STRUCT ? -E2BIG : 0;
}

int take_struct(void *to, const void *from, size_t known)
{
	int r = check_struct(from);
	size_t size, i;

	if (r)
		return r;

	memcpy(&size, from, sizeof(size));
	for (i = known; i < size; i++) {
		if (((const char *)from)[i])
			return -E2BIG;
	}

	memset(to, 0, known);
	memcpy(to, from, size < known ? size : known);
	return 0;
}

void give_struct(void *to, const void *from, size_t known)
{
	size_t size;

	memcpy(&size, to, sizeof(size));
	if (size <= sizeof(size))
		return;

	memset((char *)to + sizeof(size), 0, size - sizeof(size));
	memcpy((char *)to + sizeof(size), (const char *)from + sizeof(size),
	       (size < known ? size : known) - sizeof(size));
}

static void init(void *of_caller, size_t size)
{
	if (size < sizeof(size))
		return;

	memset(of_caller, 0, size);
	memcpy(of_caller, &size, sizeof(size));
}

API void gmem_probe_init(struct gmem_probe *probe, size_t size)
{
	init(probe, size);
}

API void gmem_vm_opts_init(struct gmem_vm_opts *opts, size_t size)
{
	init(opts, size);
}

API void gmem_create_opts_init(struct gmem_create_opts *opts, size_t size)
{
	init(opts, size);
}

API void gmem_adopt_opts_init(struct gmem_adopt_opts *opts, size_t size)
{
	init(opts, size);
}

API void gmem_map_opts_init(struct gmem_map_opts *opts, size_t size)
{
	init(opts, size);
}

API void gmem_bind_opts_init(struct gmem_bind_opts *opts, size_t size)
{
	init(opts, size);
}

API void gmem_range_init(struct gmem_range *range, size_t size)
{
	init(range, size);
}

API void gmem_listener_init(struct gmem_listener *listener, size_t size)
{
	init(listener, size);
}

API void gmem_iommu_opts_init(struct gmem_iommu_opts *opts, size_t size)
{
	init(opts, size);
}

API void gmem_result_init(struct gmem_result *result, size_t size)
{
	init(result, size);
}

API void gmem_convert_opts_init(struct gmem_convert_opts *opts, size_t size)
{
	init(opts, size);
	if (size >= sizeof(size))
		give_struct(opts, &GMEM_CONVERT_OPTS, sizeof(*opts));
}
