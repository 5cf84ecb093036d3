/* idx.c - the header of an IDX file (LeCun's format of MNIST), checked before anybody believes it.
 *
 * Layout: bytes 0 and 1 are zero, byte 2 is the element type (0x08 unsigned byte, the only one read here), byte 3 the
 * number of dimensions, then that many big-endian 32-bit sizes, then the elements, the last dimension fastest.
 */
#include "../nncore.h"

static int32_t idx_raise(nn_fault *fault, int32_t status, int64_t index, double value)
{
    *fault = (nn_fault){.code = status, .instr = -1, .index = index, .value = value};
    return status;
}

int32_t nn_idx_parse(nn_idx *idx, const uint8_t *bytes, int64_t nbytes, nn_fault *fault)
{
    static const uint8_t magic[3] = {0, 0, 8};
    for (int i = 0; i < 4; i++) {
        if (i >= nbytes)
            return idx_raise(fault, NN_ERR_FORMAT, nbytes, -1);
        if (i < 3 ? bytes[i] != magic[i] : bytes[i] < 1 || bytes[i] > 4)
            return idx_raise(fault, NN_ERR_FORMAT, i, bytes[i]);
    }
    nn_idx found = {{1, 1, 1, 1}, 1, bytes[3], 4 + 4 * bytes[3]};
    if (nbytes < found.header)
        return idx_raise(fault, NN_ERR_FORMAT, nbytes, -1);
    for (int i = 0; i < found.rank; i++) {
        const uint8_t *p = bytes + 4 + 4 * i;
        found.dim[i] = (int64_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
        if (found.dim[i] > 0 && found.nbytes > ((int64_t)1 << 48) / found.dim[i])
            return idx_raise(fault, NN_ERR_LIMIT, 4 + 4 * i, (double)found.dim[i]);
        found.nbytes *= found.dim[i];
    }
    *idx = found;
    return NN_OK;
}
