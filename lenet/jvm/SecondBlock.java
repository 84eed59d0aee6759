package lenet;

import com.intel.analytics.bigdl.mkl.MKL;
import java.util.Arrays;

/**
 * Convolution of FirstBlock's 6 maps to 16 by 5 x 5, max pooling: 16 x 4 x 4 values an image.
 *
 * <p>Its tanh is the caller's, who has the values of all images in one array.
 */
final class SecondBlock {
    static final int MAPS = 16;
    static final int SIDE = 4;
    static final int VALUES = MAPS * SIDE * SIDE;

    private static final int ROW = FirstBlock.SIDE;
    private static final int KERNEL = 5;
    private static final int PLACES = 8;
    private static final int PIXELS = PLACES * PLACES;
    private static final int WEIGHTS = FirstBlock.MAPS * KERNEL * KERNEL;

    private final float[] patches = new float[WEIGHTS * PIXELS * FirstBlock.TILE];
    private final float[] maps = new float[MAPS * PIXELS * FirstBlock.TILE];
    private final float[] weightSums = new float[MAPS * WEIGHTS];
    private final float[] biasSums = new float[VALUES];
    private final short[] places;

    SecondBlock(int capacity) {
        places = new short[capacity * VALUES];
    }

    /** Computes images first to first + count - 1 of x, interleaved, into y, image by image. */
    void forward(float[] x, int first, int count, Floats weight, Floats bias, float[] y) {
        int map = PIXELS * count;
        unfold(x, first * FirstBlock.VALUES, count);
        MKL.vsgemm('n', 'n', map, MAPS, WEIGHTS, 1f, patches, 0, map,
                weight.array, weight.offset, WEIGHTS, 0f, maps, 0, map);
        for (int k = 0; k < count; k++) {
            int to = (first + k) * VALUES;
            Pooling.forward(
                    maps, k, MAPS, map, PLACES * count, count, SIDE, bias, y, to, 1, places, to);
        }
    }

    void startBackward() {
        Arrays.fill(weightSums, 0f);
        Arrays.fill(biasSums, 0f);
    }

    /** Takes the gradient of y, before tanh, of the whole batch; writes that of a tile's x. */
    void backward(float[] x, int first, int count, Floats weight, float[] dy, float[] dx) {
        int map = PIXELS * count;
        Arrays.fill(maps, 0, MAPS * map, 0f);
        for (int value = first * VALUES; value < (first + count) * VALUES; value++) {
            maps[places[value]] = dy[value];
        }
        for (int k = 0; k < count; k++) {
            Vectors.add(dy, (first + k) * VALUES, biasSums, 0, VALUES);
        }
        unfold(x, first * FirstBlock.VALUES, count);
        MKL.vsgemm('t', 'n', MAPS, WEIGHTS, map, 1f, maps, 0, map, patches, 0, map,
                1f, weightSums, 0, MAPS);
        MKL.vsgemm('n', 't', map, WEIGHTS, MAPS, 1f, maps, 0, map,
                weight.array, weight.offset, WEIGHTS, 0f, patches, 0, map);
        fold(dx, count);
    }

    void endBackward(Floats weightGradient, Floats biasGradient) {
        int perMap = SIDE * SIDE;
        for (int map = 0; map < MAPS; map++) {
            int to = weightGradient.offset + map * WEIGHTS;
            for (int weight = 0; weight < WEIGHTS; weight++) {
                weightGradient.array[to + weight] += weightSums[weight * MAPS + map];
            }
            biasGradient.array[biasGradient.offset + map] +=
                    Vectors.sum(biasSums, map * perMap, perMap);
        }
    }

    private void unfold(float[] x, int from, int count) {
        int length = PLACES * count;
        int to = 0;
        for (int weight = 0; weight < WEIGHTS; weight++) {
            int start = from + start(weight) * count;
            for (int row = 0; row < PLACES; row++) {
                System.arraycopy(x, start + row * ROW * count, patches, to, length);
                to += length;
            }
        }
    }

    private void fold(float[] dx, int count) {
        int length = PLACES * count;
        int from = 0;
        Arrays.fill(dx, 0, FirstBlock.VALUES * count, 0f);
        for (int weight = 0; weight < WEIGHTS; weight++) {
            int start = start(weight) * count;
            for (int row = 0; row < PLACES; row++) {
                Vectors.add(patches, from, dx, start + row * ROW * count, length);
                from += length;
            }
        }
    }

    /** Where the first value lies that a weight is multiplied with. */
    private static int start(int weight) {
        int map = weight / (KERNEL * KERNEL);
        return map * ROW * ROW + weight / KERNEL % KERNEL * ROW + weight % KERNEL;
    }
}
