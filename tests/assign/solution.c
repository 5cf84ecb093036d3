/* What a student writes into the skeleton: a hidden layer, backpropagation, one sample at a time. */
#include <math.h>
#include <string.h>

enum { INPUTS = 784, HIDDEN = 48, CLASSES = 10, EPOCHS = 12 };

static float w1[HIDDEN][INPUTS], b1[HIDDEN], w2[CLASSES][HIDDEN], b2[CLASSES], hidden[HIDDEN], out[CLASSES];

static float uniform(float most)
{
    return most * (2.0f * (float)rand() / (float)RAND_MAX - 1.0f);
}

static void forward(const float *x)
{
    float largest = -1e30f, sum = 0.0f;
    for (int h = 0; h < HIDDEN; h++) {
        float a = b1[h];
        for (int i = 0; i < INPUTS; i++)
            a += w1[h][i] * x[i];
        hidden[h] = a > 0.0f ? a : 0.0f;
    }
    for (int c = 0; c < CLASSES; c++) {
        out[c] = b2[c];
        for (int h = 0; h < HIDDEN; h++)
            out[c] += w2[c][h] * hidden[h];
        largest = out[c] > largest ? out[c] : largest;
    }
    for (int c = 0; c < CLASSES; c++)
        sum += out[c] = expf(out[c] - largest);
    for (int c = 0; c < CLASSES; c++)
        out[c] /= sum;
}

static void learn(const float *x, int label, float rate)
{
    float d[HIDDEN] = {0};
    forward(x);
    out[label] -= 1.0f;
    for (int c = 0; c < CLASSES; c++) {
        for (int h = 0; h < HIDDEN; h++) {
            d[h] += out[c] * w2[c][h];
            w2[c][h] -= rate * out[c] * hidden[h];
        }
        b2[c] -= rate * out[c];
    }
    for (int h = 0; h < HIDDEN; h++) {
        if (hidden[h] == 0.0f)
            continue;
        for (int i = 0; i < INPUTS; i++)
            w1[h][i] -= rate * d[h] * x[i];
        b1[h] -= rate * d[h];
    }
}

static void scaled(const uint8_t *from, float *x)
{
    for (int i = 0; i < INPUTS; i++)
        x[i] = (float)from[i] / 255.0f;
}

static void train(const table *x, const table *labels)
{
    float sample[INPUTS];
    srand(SEED);
    for (int h = 0; h < HIDDEN; h++)
        for (int i = 0; i < INPUTS; i++)
            w1[h][i] = uniform(0.06f);
    for (int c = 0; c < CLASSES; c++)
        for (int h = 0; h < HIDDEN; h++)
            w2[c][h] = uniform(0.3f);
    for (int epoch = 0; epoch < EPOCHS; epoch++)
        for (size_t k = 0; k < x->rows; k++) {
            size_t i = (k * 1009 + (size_t)epoch * 37) % x->rows;
            scaled(x->values + i * x->columns, sample);
            learn(sample, labels->values[i], 0.03f * (1.0f - (float)epoch / EPOCHS));
        }
}

static int predict(const uint8_t *x, size_t columns)
{
    float sample[INPUTS];
    int best = 0;
    (void)columns;
    scaled(x, sample);
    forward(sample);
    for (int c = 1; c < CLASSES; c++)
        best = out[c] > out[best] ? c : best;
    return best;
}
