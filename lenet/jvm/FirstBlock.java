package lenet;

import com.intel.analytics.bigdl.mkl.MKL;
import java.util.Arrays;

/**
 * Convolution of 28 x 28 pixels to 6 maps by 5 x 5, max pooling, tanh: 6 x 12 x 12 values.
 *
 * <p>Works on tiles of at most TILE images, whose values it interleaves: value v of the k-th of t
 * images is at v * t + k. So the next convolution's rows are t times as long.
 */
final class FirstBlock {
    static final int TILE = 4;
    static final int MAPS = 6;
    static final int SIDE = 12;
    static final int VALUES = MAPS * SIDE * SIDE;
    static final int IMAGE = 784;

    private static final int ROW = 28;
    private static final int KERNEL = 5;
    private static final int WEIGHTS = KERNEL * KERNEL;
    // A kernel's row, moved along the whole image without regard to its edges, is one copy; the
    // results at the edges, which mean nothing, are never read.
    private static final int PLACES = 23 * ROW + 24;
    // For MKL: lines of memory of a multiple of 16 floats, and of the kernel's weights.
    private static final int MAP = 672;
    private static final int PADDED_WEIGHTS = 32;

    private final float[] patches = new float[PADDED_WEIGHTS * MAP];
    private final float[] maps = new float[MAPS * MAP];
    private final float[] weightSums = new float[PADDED_WEIGHTS * MAPS];
    private final float[] biasSums = new float[VALUES * TILE];
    private final short[] places;

    FirstBlock(int capacity) {
        places = new short[capacity * VALUES];
    }

    /** Computes images first to first + count - 1, counted from an image of x, into y, interleaved. */
    void forward(
            Floats x, int from, int first, int count, Floats weight, Floats bias, float[] y) {
        for (int k = 0; k < count; k++) {
            unfold(x, from + first + k);
            MKL.vsgemm('n', 'n', PLACES, MAPS, WEIGHTS, 1f, patches, 0, MAP,
                    weight.array, weight.offset, WEIGHTS, 0f, maps, 0, MAP);
            Pooling.forward(maps, 0, MAPS, MAP, ROW, 1, SIDE, bias,
                    y, first * VALUES + k, count, places, (first + k) * VALUES);
        }
        MKL.vsTanh(VALUES * count, y, first * VALUES, y, first * VALUES);
    }

    void startBackward() {
        Arrays.fill(weightSums, 0f);
        Arrays.fill(biasSums, 0f);
    }

    /** Takes the gradient of a tile's y, which it changes; the image's is not computed. */
    void backward(Floats x, int start, int first, int count, float[] y, float[] dy) {
        Vectors.tanhBackward(dy, y, first * VALUES, VALUES * count);
        for (int value = 0; count < TILE && value < VALUES; value++) {
            biasSums[value * TILE] += Vectors.sum(dy, value * count, count);
        }
        if (count == TILE) {
            Vectors.add(dy, 0, biasSums, 0, VALUES * TILE);
        }
        for (int k = 0; k < count; k++) {
            Arrays.fill(maps, 0f);
            int from = (first + k) * VALUES;
            for (int value = 0; value < VALUES; value++) {
                maps[places[from + value]] = dy[value * count + k];
            }
            unfold(x, start + first + k);
            MKL.vsgemm('t', 'n', PADDED_WEIGHTS, MAPS, PLACES, 1f, patches, 0, MAP,
                    maps, 0, MAP, 1f, weightSums, 0, PADDED_WEIGHTS);
        }
    }

    void endBackward(Floats weightGradient, Floats biasGradient) {
        int perMap = SIDE * SIDE * TILE;
        for (int map = 0; map < MAPS; map++) {
            Vectors.add(weightSums, map * PADDED_WEIGHTS,
                    weightGradient.array, weightGradient.offset + map * WEIGHTS, WEIGHTS);
            biasGradient.array[biasGradient.offset + map] +=
                    Vectors.sum(biasSums, map * perMap, perMap);
        }
    }

    private void unfold(Floats x, int image) {
        int from = x.offset + image * IMAGE;
        for (int weight = 0; weight < WEIGHTS; weight++) {
            int start = from + weight / KERNEL * ROW + weight % KERNEL;
            System.arraycopy(x.array, start, patches, weight * MAP, PLACES);
        }
    }
}
