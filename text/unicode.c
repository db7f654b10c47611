/* UTF-8, and the characters that tokenizers tell apart: white space, and what words are made of. */
#include "unicode.h"

#include <string.h>
#include <utf8proc.h>

bool
ql_char_is_space(uint32_t c)
{
    if (c < 128)
        return c == ' ' || (c >= '\t' && c <= '\r');
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return true;
    default:
        return c == 0x85; /* NEL: a control character with the White_Space property */
    }
}

size_t
ql_space_after(const char *text, size_t bytes, size_t at)
{
    size_t step;

    while (at < bytes && ql_char_is_space(ql_utf8_char((const unsigned char *)text + at, &step)))
        at += step;
    return at;
}

size_t
ql_space_before(const char *text, size_t bytes, size_t floor)
{
    size_t step;

    while (bytes > floor) {
        size_t before = ql_utf8_back(text, bytes);

        if (!ql_char_is_space(ql_utf8_char((const unsigned char *)text + before, &step)))
            break;
        bytes = before;
    }
    return bytes;
}

bool
ql_char_is_word(uint32_t c)
{
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default: /* joiners, and the circled and squared letters, which are symbols with the Alphabetic property */
        return c == 0x200c || c == 0x200d || (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) ||
               (c >= 0x1f150 && c <= 0x1f169) || (c >= 0x1f170 && c <= 0x1f189);
    }
}

/* Length of the character at `s`, or minus the length of what one U+FFFD stands for (the longest prefix of a
 * character). */
static int
check_char(const unsigned char *s, size_t n)
{
    unsigned low = 0x80, high = 0xbf;
    int length, i;

    if (s[0] < 0x80)
        return 1;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return -1;
    length = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    if (s[0] == 0xe0)
        low = 0xa0;
    else if (s[0] == 0xed)
        high = 0x9f; /* no surrogates */
    else if (s[0] == 0xf0)
        low = 0x90;
    else if (s[0] == 0xf4)
        high = 0x8f;
    for (i = 1; i < length; i++) {
        if ((size_t)i >= n || s[i] < low || s[i] > high)
            return -i;
        low = 0x80;
        high = 0xbf;
    }
    return length;
}

size_t
ql_utf8_check(const char *text, size_t bytes, size_t *bad)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t i = 0;
    uint64_t eight;
    int n;

    *bad = 0;
    while (i < bytes) {
        while (bytes - i >= sizeof eight && (memcpy(&eight, s + i, sizeof eight), !(eight & 0x8080808080808080u)))
            i += sizeof eight;
        if (i == bytes)
            break;
        n = check_char(s + i, bytes - i);
        if (n < 0) {
            *bad = (size_t)-n;
            return i;
        }
        i += (size_t)n;
    }
    return bytes;
}

size_t
ql_utf8_put(uint32_t c, char out[4])
{
    return (size_t)utf8proc_encode_char((utf8proc_int32_t)c, (utf8proc_uint8_t *)out);
}

/* The 68 bytes without a character of their own are 0-32, 127-160 and 173; they get 256, 257, ... in that order. */
uint32_t
ql_byte_char(unsigned byte)
{
    if (byte <= 32)
        return 256 + byte;
    if (byte >= 127 && byte <= 160)
        return 256 + 33 + (byte - 127);
    return byte == 173 ? 256 + 67 : byte;
}

int
ql_byte_of_char(uint32_t c)
{
    if (c >= 256 + 68)
        return -1;
    if (c >= 256)
        return (int)(c == 256 + 67 ? 173 : c < 256 + 33 ? c - 256 : c - (256 + 33) + 127);
    return ql_byte_char(c) == c ? (int)c : -1;
}
