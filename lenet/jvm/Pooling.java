package lenet;

/** Max pooling of 2 x 2, without a branch. */
final class Pooling {
    private Pooling() {
    }

    /**
     * Pools one image's maps, and adds the bias of the convolution before.
     *
     * <p>Floats, read as integers, are in the same order once those below zero are turned about;
     * the last two bits of each give way to the place it has, so that the largest names it. Of
     * values that differ in these two bits alone the first is taken, as of equal ones.
     *
     * @param x where the maps lie: pixel p of a row at p * step, rows row apart, maps map apart
     * @param at the first pixel
     * @param side rows and columns of the result
     * @param y receives the result, yStep apart
     * @param places receives the index in x of each result
     */
    static void forward(float[] x, int at, int maps, int map, int row, int step, int side, Floats bias,
            float[] y, int yOffset, int yStep, short[] places, int placesOffset) {
        int result = 0;
        for (int m = 0; m < maps; m++) {
            float shift = bias.array[bias.offset + m];
            for (int r = 0; r < side; r++) {
                int p = at + m * map + 2 * r * row;
                for (int c = 0; c < side; c++) {
                    int first = ordered(x[p]) | 3;
                    int second = ordered(x[p + step]) | 2;
                    int third = ordered(x[p + row]) | 1;
                    int fourth = ordered(x[p + row + step]);
                    int largest = Math.max(Math.max(first, second), Math.max(third, fourth));
                    int corner = 3 - (largest & 3);
                    int place = p + (corner & 1) * step + (corner >> 1) * row;
                    places[placesOffset + result] = (short) place;
                    y[yOffset + result * yStep] = x[place] + shift;
                    result++;
                    p += 2 * step;
                }
            }
        }
    }

    private static int ordered(float value) {
        int bits = Float.floatToRawIntBits(value);
        return (bits ^ (bits >> 31 & 0x7fffffff)) & ~3;
    }
}
