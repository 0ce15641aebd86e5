#include "mem/escape.h"

char *escape_put(char *out, char byte) {
    static const char hex[] = "0123456789abcdef";
    static const char letters[] = "btn\0fr"; /* of 0x08 to 0x0d */
    uint8_t code = (uint8_t)byte;
    *out++ = '\\';
    if (code >= 0x20) {
        *out++ = byte;
    } else if (code >= 0x08 && code <= 0x0d && letters[code - 0x08] != '\0') {
        *out++ = letters[code - 0x08];
    } else {
        memcpy(out, "u00", 3);
        out[3] = hex[code >> 4];
        out[4] = hex[code & 15];
        out += 5;
    }
    return out;
}

char *escape_put_text(char *out, struct span text) {
    for (size_t i = 0; i < text.len; i++) {
        if (escape_is_clean(text.data[i])) {
            *out++ = text.data[i];
        } else {
            out = escape_put(out, text.data[i]);
        }
    }
    return out;
}
