package lenet;

import com.intel.analytics.bigdl.mkl.MKL;
import java.util.Arrays;

/** Forward and backward pass of LeNet5 for a part of a batch, on one thread. */
final class Part {
    static final int CLASSES = 10;

    final int capacity;
    private final FirstBlock first;
    private final SecondBlock second;
    private final Dense third = new Dense(SecondBlock.VALUES, 120);
    private final Dense fourth = new Dense(third.outputs, 84);
    private final Dense fifth = new Dense(fourth.outputs, CLASSES);
    private final float[] maps;
    private final float[] features;
    private final float[] hidden;
    private final float[] top;
    private final float[] scores;
    private final float[] featureGradient;
    private final float[] hiddenGradient;
    private final float[] topGradient;
    private final float[] tileGradient = new float[FirstBlock.VALUES * FirstBlock.TILE];
    private final Floats[] gradients;

    /**
     * @param capacity images at most
     * @param gradients of the ten parameters, to have memory for as many of this part's own
     */
    Part(int capacity, Floats[] gradients) {
        this.capacity = capacity;
        first = new FirstBlock(capacity);
        second = new SecondBlock(capacity);
        maps = new float[capacity * FirstBlock.VALUES];
        features = new float[capacity * SecondBlock.VALUES];
        hidden = new float[capacity * third.outputs];
        top = new float[capacity * fourth.outputs];
        scores = new float[capacity * CLASSES];
        featureGradient = new float[features.length];
        hiddenGradient = new float[hidden.length];
        topGradient = new float[top.length];
        this.gradients = new Floats[gradients.length];
        for (int i = 0; i < gradients.length; i++) {
            this.gradients[i] = new Floats(new float[gradients[i].length]);
        }
    }

    /** Computes the logarithms of the classes' probabilities of images from to from + count - 1. */
    void forward(Floats images, int from, int count, Floats[] w, Floats result) {
        for (int at = 0; at < count; at += FirstBlock.TILE) {
            int tile = Math.min(FirstBlock.TILE, count - at);
            first.forward(images, from, at, tile, w[0], w[1], maps);
            second.forward(maps, at, tile, w[2], w[3], features);
        }
        tanh(features, count * SecondBlock.VALUES);
        third.forward(features, count, w[4], w[5], hidden);
        tanh(hidden, count * third.outputs);
        fourth.forward(hidden, count, w[6], w[7], top);
        tanh(top, count * fourth.outputs);
        fifth.forward(top, count, w[8], w[9], scores);
        logSoftMax(scores, from, count, result);
    }

    /** Computes this part's gradients; needs the forward pass of the same images just before. */
    void backward(Floats images, int from, int count, Floats[] w, Floats result, Floats gradient) {
        Floats[] g = gradients;
        for (Floats one : g) {
            one.fill(0f);
        }
        logSoftMaxBackward(result, gradient, from, count, scores);
        fifth.backward(top, scores, count, w[8], g[8], g[9], topGradient);
        Vectors.tanhBackward(topGradient, top, 0, count * fourth.outputs);
        fourth.backward(hidden, topGradient, count, w[6], g[6], g[7], hiddenGradient);
        Vectors.tanhBackward(hiddenGradient, hidden, 0, count * third.outputs);
        third.backward(features, hiddenGradient, count, w[4], g[4], g[5], featureGradient);
        Vectors.tanhBackward(featureGradient, features, 0, count * SecondBlock.VALUES);
        first.startBackward();
        second.startBackward();
        for (int at = 0; at < count; at += FirstBlock.TILE) {
            int tile = Math.min(FirstBlock.TILE, count - at);
            second.backward(maps, at, tile, w[2], featureGradient, tileGradient);
            first.backward(images, from, at, tile, maps, tileGradient);
        }
        second.endBackward(g[2], g[3]);
        first.endBackward(g[0], g[1]);
    }

    /** Adds this part's gradients to those of the batch. */
    void addTo(Floats[] sums) {
        for (int i = 0; i < sums.length; i++) {
            Vectors.add(gradients[i].array, 0, sums[i].array, sums[i].offset, sums[i].length);
        }
    }

    private static void tanh(float[] values, int length) {
        MKL.vsTanh(length, values, 0, values, 0);
    }

    private static void logSoftMax(float[] scores, int from, int count, Floats result) {
        for (int row = 0; row < count; row++) {
            int at = row * CLASSES;
            int to = result.offset + (from + row) * CLASSES;
            float largest = scores[at];
            for (int i = 1; i < CLASSES; i++) {
                largest = Math.max(largest, scores[at + i]);
            }
            double sum = 0;
            for (int i = 0; i < CLASSES; i++) {
                sum += Math.exp(scores[at + i] - largest);
            }
            float logarithm = largest + (float) Math.log(sum);
            for (int i = 0; i < CLASSES; i++) {
                result.array[to + i] = scores[at + i] - logarithm;
            }
        }
    }

    private static void logSoftMaxBackward(
            Floats result, Floats gradient, int from, int count, float[] dx) {
        for (int row = 0; row < count; row++) {
            int at = result.offset + (from + row) * CLASSES;
            int dy = gradient.offset + (from + row) * CLASSES;
            float sum = Vectors.sum(gradient.array, dy, CLASSES);
            for (int i = 0; i < CLASSES; i++) {
                float probability = (float) Math.exp(result.array[at + i]);
                dx[row * CLASSES + i] = gradient.array[dy + i] - probability * sum;
            }
        }
    }
}
