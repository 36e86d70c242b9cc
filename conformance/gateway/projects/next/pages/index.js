export default function Page() {
  return <p id="text">as it was</p>;
}
