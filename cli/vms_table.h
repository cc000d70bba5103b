/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* A sample as a table, with totals or with rates. */
#ifndef GMEM_VMS_TABLE_H
#define GMEM_VMS_TABLE_H

#include "vms.h"

struct vms_table_order;

/* The order @name, or NULL; vms_table_orders() lists the names. */
const struct vms_table_order *vms_table_order(const char *name);
const char *vms_table_orders(void);

/* Print the table; with rates instead of totals unless @before is NULL. */
void vms_table(FILE *to, const struct vms *now, const struct vms *before, bool files,
	       const struct vms_table_order *order);

/* Print how many VMs there are, and what the table does not show. */
void vms_summary(FILE *to, const struct vms *now, const struct vms *before);

#endif
