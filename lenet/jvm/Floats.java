package lenet;

import com.intel.analytics.bigdl.dllib.nn.abstractnn.Activity;
import com.intel.analytics.bigdl.dllib.tensor.Tensor;
import java.util.Arrays;

/** The array behind a contiguous tensor of floats, and the part of it that the tensor is. */
final class Floats {
    final float[] array;
    final int offset;
    final int length;
    private final int rows;

    Floats(Activity activity) {
        Tensor tensor = (Tensor) activity;
        if (!tensor.isContiguous()) {
            throw new IllegalArgumentException("the tensor is not contiguous");
        }
        array = (float[]) tensor.storage().array();
        offset = tensor.storageOffset() - 1;
        length = tensor.nElement();
        rows = tensor.size(1);
    }

    /** A vector. */
    Floats(float[] array) {
        this.array = array;
        offset = 0;
        length = array.length;
        rows = length;
    }

    void fill(float value) {
        Arrays.fill(array, offset, offset + length, value);
    }

    /** The first dimension: records of a batch. */
    int rows() {
        return rows;
    }
}
