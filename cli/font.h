/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * A font for the labels of a picture: ASCII, five pixels by seven.  Libraries that draw text,
 * such as FreeType or Cairo, need a font file, which a static program in an initramfs does not
 * have.
 */
#ifndef GMEM_FONT_H
#define GMEM_FONT_H

#include <stdint.h>

#define FONT_COLUMNS	5u
#define FONT_ROWS	7u

/* Its rows from above, the leftmost pixel being the highest bit; a box for what is not ASCII. */
const uint8_t *font_glyph(char letter);

#endif
